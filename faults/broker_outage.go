package faults

import (
	"context"
	"errors"

	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/stack"
)

// brokers is the part that the faults on the whole Kafka cluster share.
type brokers struct{}

func (brokers) Target() string { return "kafka" }

func (brokers) Validate(t harness.Topology) error { return t.CheckKafka() }

type brokerOutage struct{ brokers }

// BrokerOutage stops every broker, in good order as far as that goes, and starts them again with their data when
// healed. Brokers that find no quorum any more to take leave of are killed.
func BrokerOutage() harness.Fault { return brokerOutage{} }

func (brokerOutage) Name() string { return "broker-outage" }

func (brokerOutage) Prepare(env *harness.Env) harness.Injection {
	return newExit(env, stopped, env.Brokers(), "")
}

func stopped(ctx context.Context, node stack.Node) error {
	err := terminated(ctx, node)
	if errors.Is(err, stack.ErrOutlived) && !node.Alive() {
		return nil
	}
	return err
}
