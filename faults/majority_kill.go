package faults

import (
	"context"
	"fmt"

	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/stack"
)

type majorityKill struct{}

// MajorityKill ends two of three brokers by SIGKILL, the controller and another, and starts them again when healed.
// Until then no controller can be elected, and nothing can be acknowledged that all replicas in sync must have.
func MajorityKill() harness.Fault { return majorityKill{} }

func (majorityKill) Name() string { return "majority-kill" }

func (majorityKill) Target() string { return "kafka" }

func (majorityKill) Validate(t harness.Topology) error { return t.CheckApart() }

func (majorityKill) Prepare(env *harness.Env) harness.Injection { return &minority{env: env} }

// minority is a cluster of which most brokers are dead.
type minority struct {
	env    *harness.Env
	struck *exit // nil until it is known which to hit
	heir   *succession
	events func() []history.Event // since the last of them is dead
}

func (m *minority) Inject(ctx context.Context) error {
	controller, err := m.env.Controller(ctx)
	if err != nil {
		return err
	}
	m.struck = newExit(m.env, killed, majority(m.env.Brokers(), controller), "killed")
	if err := m.struck.Inject(ctx); err != nil {
		return err
	}
	m.heir = follow(ctx, controls(m.env), controller)
	// What was acknowledged before must be past the taps.
	return whenStill(ctx, func() (moved func() bool) {
		m.events = m.env.Since()
		return func() bool { _, acks := m.produced(); return acks > 0 }
	})
}

// majority is the fewest of the brokers that are more than half, the named one among them.
func majority(brokers []stack.Node, with string) []stack.Node {
	var chosen []stack.Node
	for _, broker := range brokers {
		if broker.Name() == with {
			chosen = append(chosen, broker)
		}
	}
	for _, broker := range brokers {
		if broker.Name() != with && 2*len(chosen) <= len(brokers) {
			chosen = append(chosen, broker)
		}
	}
	return chosen
}

func (m *minority) Heal(ctx context.Context) error {
	if m.heir != nil {
		m.heir.end()
	}
	if m.struck == nil {
		return nil
	}
	return m.struck.Heal(ctx)
}

// Evidence demands the exits, that nobody names a controller, and that producers ask and are not acknowledged.
func (m *minority) Evidence() harness.Evidence {
	if m.events == nil {
		return harness.Evidence{Effect: "no broker was hit"}
	}
	evidence := m.struck.Evidence()
	asked, acks := m.produced()
	unheld := m.heir.unheld()
	evidence.Bit = evidence.Bit && unheld > 0 && asked > 0 && acks == 0
	evidence.Effect += fmt.Sprintf("; nobody could name a controller for the last %v; %d Produce requests were sent and %d acknowledged",
		milliseconds(unheld), asked, acks)
	return evidence
}

// produced counts the Produce requests at the taps since all are dead, and the acknowledgements.
func (m *minority) produced() (asked, acks int) {
	for _, event := range m.events() {
		switch w := event.Wire; {
		case acknowledged(w):
			acks++
		case w != nil && w.Kind == "Produce" && w.Direction == history.Request && w.Held == "":
			asked++
		}
	}
	return asked, acks
}
