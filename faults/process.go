package faults

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/stack"
)

// exit is the part that the faults which end processes share: it knows which exits it waits for, and
// starts again what it ended.
type exit struct {
	env    *harness.Env
	nodes  []stack.Node
	signal string // that must end the processes to count; empty: any exit on request
	stop   func(context.Context, stack.Node) error
	// atOnce starts the processes again within Inject.
	atOnce bool

	// Measured from Inject on, or from Prepare without one.
	events  func() []history.Event
	overlap func() int
	links   map[string]processLinks // by node
}

func newExit(env *harness.Env, stop func(context.Context, stack.Node) error, nodes []stack.Node, signal string) *exit {
	e := &exit{env: env, nodes: nodes, signal: signal, stop: stop}
	e.watch()
	return e
}

// watch begins to measure.
func (e *exit) watch() {
	e.unwatch()
	e.events, e.overlap, e.links = e.env.Since(), e.env.Overlapping(), map[string]processLinks{}
	for _, node := range e.nodes {
		e.links[node.Name()] = watchProcess(e.env, node.Name())
	}
}

func (e *exit) unwatch() {
	for _, links := range e.links {
		links.stop()
	}
}

func (e *exit) Inject(ctx context.Context) error {
	e.watch()
	// All at once: the last broker of a cluster that is stopped one by one cannot stop in good order any more.
	var group errgroup.Group
	for _, node := range e.nodes {
		group.Go(func() error { return e.stop(ctx, node) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if e.atOnce {
		return e.env.Revive(ctx, e.nodes)
	}
	return nil
}

// Heal starts what does not run.
func (e *exit) Heal(ctx context.Context) error {
	defer e.unwatch()
	return e.env.Revive(ctx, e.nodes)
}

// Evidence demands of every process its exit and the loss of a connection at the taps, and operations in flight.
func (e *exit) Evidence() harness.Evidence {
	exited, again := map[string]history.Process{}, map[string]string{}
	ends := map[string]time.Duration{}
	for _, event := range e.events() {
		switch p := event.Process; {
		case p == nil:
		case p.State == history.Exited && e.counts(*p):
			exited[p.Name], ends[p.Name] = *p, event.At
		case p.State == history.Ready && e.atOnce:
			again[p.Name] = fmt.Sprintf(" and was ready again %v later", milliseconds(event.At-ends[p.Name]))
		}
	}
	operations := e.overlap()
	all := harness.Evidence{Bit: operations > 0}
	for _, node := range e.nodes {
		p, ok := exited[node.Name()]
		if !ok {
			return harness.Evidence{Effect: fmt.Sprintf("%s did not exit", node.Name())}
		}
		ended, unreachable := e.links[node.Name()].lost()
		all.Bit = all.Bit && ended+unreachable > 0
		all.Effect += fmt.Sprintf("%s, pid %d, exited (%s)%s, which ended %d connections, and %d more could not reach it; ",
			p.Name, p.PID, ending(p), again[p.Name], ended, unreachable)
	}
	all.Effect += fmt.Sprintf("%d client operations were in flight from then on", operations)
	return all
}

// counts says whether p is the exit asked for, not one that the process chose or suffered by itself.
func (e *exit) counts(p history.Process) bool {
	return !p.Unasked && (e.signal == "" || p.Signal == e.signal)
}

func ending(p history.Process) string {
	if p.Signal != "" {
		return "signal: " + p.Signal
	}
	return fmt.Sprintf("code %d", p.Code)
}

func killed(ctx context.Context, node stack.Node) error     { return node.Kill(ctx) }
func terminated(ctx context.Context, node stack.Node) error { return node.Terminate(ctx) }
