package faults

import "github.com/ordeal-chaos/ordeal/harness"

// LeaderKill ends the leader of a partition, "order-events/0", by SIGKILL, and starts it again when healed.
func LeaderKill(partition string) harness.Fault { return onLeader("leader-kill", partition, Kill) }
