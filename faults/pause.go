package faults

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ordeal-chaos/ordeal/harness"
)

type pause struct{ onNode }

// Pause stops a process and all its children with SIGSTOP, as a long garbage collection or a frozen
// virtual machine does, and continues it when healed.
func Pause(process string) harness.Fault { return pause{onNode{process}} }

func (pause) Name() string { return "pause" }

func (f pause) Prepare(env *harness.Env) harness.Injection {
	p := &pausing{env: env, node: f.node}
	p.watch()
	return p
}

// pausing measures the links of a process that should be silent.
type pausing struct {
	env     *harness.Env
	node    string
	links   processLinks
	overlap func() int
}

func (p *pausing) watch() {
	p.links.stop()
	p.links, p.overlap = watchProcess(p.env, p.node), p.env.Overlapping()
}

func (p *pausing) Inject(ctx context.Context) error {
	if err := p.env.Node(p.node).Pause(ctx); err != nil {
		return err
	}
	// What it had sent before it stopped must be past the taps.
	return whenStill(ctx, func() (moved func() bool) {
		p.watch()
		return func() bool { sent, _, _ := p.links.messages(); return sent > 0 }
	})
}

func (p *pausing) Heal(ctx context.Context) error {
	defer p.links.stop()
	return p.env.Node(p.node).Resume(ctx)
}

// Evidence is silence: nothing sent by the process, though its peers or clients wanted something.
func (p *pausing) Evidence() harness.Evidence {
	sent, asked, length := p.links.messages()
	operations := p.overlap()
	return harness.Evidence{
		Bit: sent == 0 && length >= 200*time.Millisecond && operations > 0 && (asked > 0 || p.busyBefore()),
		Effect: fmt.Sprintf("%s sent %d messages in %v, while %d client operations were in flight and %d messages asked it for something",
			p.node, sent, milliseconds(length), operations, asked),
	}
}

// busyBefore says whether the process sent a message worth recording earlier in the run: silence of one that
// is always silent proves nothing.
func (p *pausing) busyBefore() bool {
	for _, event := range p.env.Log() {
		if event.Wire != nil && strings.HasPrefix(event.Wire.Link, p.node+"->") {
			return true
		}
	}
	return false
}
