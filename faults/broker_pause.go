package faults

import "github.com/ordeal-chaos/ordeal/harness"

type brokerPause struct{ brokers }

// BrokerPause stops every broker with SIGSTOP, and continues them when healed.
func BrokerPause() harness.Fault { return brokerPause{} }

func (brokerPause) Name() string { return "broker-pause" }

func (brokerPause) Prepare(env *harness.Env) harness.Injection { return newPausing(env, env.Brokers()) }
