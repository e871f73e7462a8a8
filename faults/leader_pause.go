package faults

import "github.com/ordeal-chaos/ordeal/harness"

// LeaderPause stops the leader of a partition, "order-events/0", with SIGSTOP, and continues it when healed: by
// then another leads, which the paused one does not know.
func LeaderPause(partition string) harness.Fault { return onLeader("leader-pause", partition, Pause) }
