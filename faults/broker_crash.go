package faults

import "github.com/ordeal-chaos/ordeal/harness"

type brokerCrash struct{ brokers }

// BrokerCrash ends every broker by SIGKILL and starts them again at once, with what they had written.
func BrokerCrash() harness.Fault { return brokerCrash{} }

func (brokerCrash) Name() string { return "broker-crash" }

func (brokerCrash) Prepare(env *harness.Env) harness.Injection {
	crash := newExit(env, killed, env.Brokers(), "killed")
	crash.atOnce = true
	return crash
}
