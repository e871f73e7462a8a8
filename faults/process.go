package faults

import (
	"context"
	"fmt"

	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/stack"
)

// exit is the part that the faults which end processes share: it knows which exits it waits for, and
// starts again what it ended.
type exit struct {
	env     *harness.Env
	nodes   []stack.Node
	signals []string // how the processes must end to count; empty: in any way
	events  func() []history.Event
	overlap func() int
	stop    func(context.Context, stack.Node) error
	// atOnce starts the processes again within Inject.
	atOnce bool
}

func newExit(env *harness.Env, stop func(context.Context, stack.Node) error, nodes []stack.Node, signals ...string) *exit {
	return &exit{env: env, nodes: nodes, signals: signals, stop: stop, events: env.Since(), overlap: env.Overlapping()}
}

func (e *exit) Inject(ctx context.Context) error {
	for _, node := range e.nodes {
		if err := e.stop(ctx, node); err != nil {
			return err
		}
	}
	if e.atOnce {
		return e.Heal(ctx)
	}
	return nil
}

// Heal starts what does not run. Two faults may have ended the same process: the first heal starts it.
func (e *exit) Heal(ctx context.Context) error {
	for _, node := range e.nodes {
		if node.Alive() {
			continue
		}
		if err := node.Start(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (e *exit) Evidence() harness.Evidence {
	exited := map[string]history.Process{}
	for _, event := range e.events() {
		if p := event.Process; p != nil && p.State == history.Exited && e.counts(*p) {
			exited[p.Name] = *p
		}
	}
	var how history.Process
	for _, node := range e.nodes {
		p, ok := exited[node.Name()]
		if !ok {
			return harness.Evidence{Effect: fmt.Sprintf("%s did not exit", node.Name())}
		}
		how = p
	}
	operations := e.overlap()
	return harness.Evidence{
		Bit:    operations > 0,
		Effect: fmt.Sprintf("%s, pid %d, exited (%s); %d client operations overlapped", how.Name, how.PID, ending(how), operations),
	}
}

func (e *exit) counts(p history.Process) bool {
	if len(e.signals) == 0 {
		return true
	}
	for _, signal := range e.signals {
		if p.Signal == signal {
			return true
		}
	}
	return false
}

func ending(p history.Process) string {
	if p.Signal != "" {
		return "signal: " + p.Signal
	}
	return fmt.Sprintf("code %d", p.Code)
}

func killed(ctx context.Context, node stack.Node) error     { return node.Kill(ctx) }
func terminated(ctx context.Context, node stack.Node) error { return node.Terminate(ctx) }
