package faults

import "github.com/ordeal-chaos/ordeal/harness"

// LeaderRestart stops the leader of a partition, "order-events/0", in good order, so that it hands over what it
// leads, and starts it again when healed.
func LeaderRestart(partition string) harness.Fault {
	return onLeader("leader-restart", partition, Terminate)
}
