package faults

import (
	"context"
	"fmt"
	"strings"

	"github.com/ordeal-chaos/ordeal/harness"
)

// Isolate cuts a broker, "kafka-2" or "leader:order-events/0", from the other brokers, until healed. Clients still
// reach it: it goes on answering them as the leader it was, when the others have elected another.
func Isolate(broker string) harness.Fault {
	if partition, ok := strings.CutPrefix(broker, "leader:"); ok {
		fault := onLeader("isolate", partition, func(broker string) harness.Fault { return isolate{onNode{broker}} })
		fault.target = broker
		return fault
	}
	return deposed{
		name: "isolate", target: broker,
		validate: func(t harness.Topology) error { return t.CheckBroker(broker) },
		office:   func(ctx context.Context, env *harness.Env) (office, error) { return leadsSome(ctx, env, broker) },
		hit:      func(broker string) harness.Fault { return isolate{onNode{broker}} },
	}
}

// leadsSome is the duty to lead the first of the partitions that the broker leads.
func leadsSome(ctx context.Context, env *harness.Env, broker string) (office, error) {
	for _, topic := range env.Topology.Topics {
		for number := range env.Topology.Partitions[topic] {
			if leader, err := env.Leader(ctx, topic, number); err == nil && leader == broker {
				return leads(env, fmt.Sprintf("%s/%d", topic, number)), nil
			}
		}
	}
	return office{}, fmt.Errorf("%s leads no partition", broker)
}

// isolate cuts a broker from the others, whatever it leads.
type isolate struct{ onNode }

func (isolate) Name() string { return "isolate" }

func (f isolate) Prepare(env *harness.Env) harness.Injection {
	return &isolating{env: env, broker: f.node, links: watchProcess(env, f.node)}
}

type isolating struct {
	env    *harness.Env
	broker string
	links  processLinks
}

func (i *isolating) Inject(ctx context.Context) error {
	if err := i.env.Isolate(ctx, i.broker); err != nil {
		return err
	}
	i.links.stop()
	i.links = watchProcess(i.env, i.broker)
	return nil
}

func (i *isolating) Heal(ctx context.Context) error {
	i.links.stop()
	return i.env.Rejoin(ctx, i.broker)
}

// Evidence demands that clients still exchange messages with the broker: one answer on each connection may be
// to what was asked before the cut, another is not.
func (i *isolating) Evidence() harness.Evidence {
	var answers, connections int64
	for _, window := range i.links.server {
		m := window.Measure()
		answers, connections = answers+m.Response.Messages, connections+m.Conns
	}
	return harness.Evidence{
		Bit:    answers > connections,
		Effect: fmt.Sprintf("cut from the others, it gave clients %d answers on %d connections", answers, connections),
	}
}
