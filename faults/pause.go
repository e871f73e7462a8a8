package faults

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/stack"
)

type pause struct{ onNode }

// Pause stops a process and all its children with SIGSTOP, as a long garbage collection or a frozen
// virtual machine does, and continues it when healed.
func Pause(process string) harness.Fault { return pause{onNode{process}} }

func (pause) Name() string { return "pause" }

func (f pause) Prepare(env *harness.Env) harness.Injection {
	return newPausing(env, []stack.Node{env.Node(f.node)})
}

// pausing measures the links of processes that should be silent.
type pausing struct {
	env     *harness.Env
	nodes   []stack.Node
	links   map[string]processLinks // by node
	overlap func() int
}

func newPausing(env *harness.Env, nodes []stack.Node) *pausing {
	p := &pausing{env: env, nodes: nodes}
	p.watch()
	return p
}

func (p *pausing) watch() {
	p.unwatch()
	p.links, p.overlap = map[string]processLinks{}, p.env.Overlapping()
	for _, node := range p.nodes {
		p.links[node.Name()] = watchProcess(p.env, node.Name())
	}
}

func (p *pausing) unwatch() {
	for _, links := range p.links {
		links.stop()
	}
}

func (p *pausing) Inject(ctx context.Context) error {
	for _, node := range p.nodes {
		if err := node.Pause(ctx); err != nil {
			return err
		}
	}
	// What they had sent before they stopped must be past the taps.
	return whenStill(ctx, func() (moved func() bool) {
		p.watch()
		return func() bool {
			for _, links := range p.links {
				if sent, _, _ := links.messages(); sent > 0 {
					return true
				}
			}
			return false
		}
	})
}

func (p *pausing) Heal(ctx context.Context) error {
	defer p.unwatch()
	var errs []error
	for _, node := range p.nodes {
		errs = append(errs, node.Resume(ctx))
	}
	return errors.Join(errs...)
}

// Evidence is silence: nothing sent by any of the processes, though its peers or clients wanted something.
func (p *pausing) Evidence() harness.Evidence {
	operations := p.overlap()
	all := harness.Evidence{Bit: operations > 0}
	for _, node := range p.nodes {
		sent, asked, length := p.links[node.Name()].messages()
		all.Bit = all.Bit && sent == 0 && length >= 200*time.Millisecond && (asked > 0 || p.busyBefore(node.Name()))
		all.Effect += fmt.Sprintf("%s sent %d messages in %v, and %d messages asked it for something; ",
			node.Name(), sent, milliseconds(length), asked)
	}
	all.Effect += fmt.Sprintf("%d client operations were in flight", operations)
	return all
}

// busyBefore says whether the process sent a message worth recording earlier in the run: silence of one that
// is always silent proves nothing.
func (p *pausing) busyBefore(node string) bool {
	for _, event := range p.env.Log() {
		if event.Wire != nil && strings.HasPrefix(event.Wire.Link, node+"->") {
			return true
		}
	}
	return false
}
