package faults

import (
	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/stack"
)

// UncleanRestart ends the leader of a partition, "order-events/0", by SIGKILL and starts it at once, with what it
// had written: it registers again while the cluster may still believe that it leads.
func UncleanRestart(partition string) harness.Fault {
	fault := onLeader("unclean-restart", partition, func(broker string) harness.Fault { return crash{onNode{broker}} })
	fault.reelects = true
	return fault
}

// crash kills a process and starts it at once.
type crash struct{ onNode }

func (crash) Name() string { return "crash" }

func (f crash) Prepare(env *harness.Env) harness.Injection {
	e := newExit(env, killed, []stack.Node{env.Node(f.node)}, "killed")
	e.atOnce = true
	return e
}
