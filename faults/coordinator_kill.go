package faults

import (
	"context"

	"github.com/ordeal-chaos/ordeal/harness"
)

// CoordinatorKill ends the broker that coordinates the service's consumer group by SIGKILL, and starts it again
// when healed: another one takes over what the group committed.
func CoordinatorKill(service string) harness.Fault {
	return deposed{
		name: "coordinator-kill", target: service, hit: Kill,
		validate: func(t harness.Topology) error { return t.CheckConsumer(service) },
		office: func(_ context.Context, env *harness.Env) (office, error) {
			group := env.Topology.Services[service].Group
			return office{duty: "coordinated group " + group, holder: func(ctx context.Context) (string, error) {
				return env.Coordinator(ctx, group)
			}}, nil
		},
	}
}
