package faults

import (
	"github.com/ordeal-chaos/ordeal/harness"
)

// brokers is the part that the faults on the whole Kafka cluster share.
type brokers struct{}

func (brokers) Target() string { return "kafka" }

func (brokers) Validate(t harness.Topology) error { return t.CheckKafka() }

type brokerOutage struct{ brokers }

// BrokerOutage stops every broker in good order, and starts them again with their data when healed.
func BrokerOutage() harness.Fault { return brokerOutage{} }

func (brokerOutage) Name() string { return "broker-outage" }

func (brokerOutage) Prepare(env *harness.Env) harness.Injection {
	return newExit(env, terminated, env.Brokers(), "")
}
