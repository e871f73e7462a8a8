package faults

import (
	"context"

	"github.com/ordeal-chaos/ordeal/harness"
)

// ControllerKill ends the broker that leads the controllers' quorum by SIGKILL, and starts it again when healed.
func ControllerKill() harness.Fault {
	return deposed{
		name: "controller-kill", target: "kafka", hit: Kill,
		validate: func(harness.Topology) error { return nil },
		office:   func(_ context.Context, env *harness.Env) (office, error) { return controls(env), nil },
	}
}
