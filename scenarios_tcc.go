package ordeal

import (
	"time"

	"github.com/ordeal-chaos/ordeal/faults"
	"github.com/ordeal-chaos/ordeal/harness"
)

// tccScenarios break how clients confirm and cancel what they reserved over REST.
func tccScenarios(system func(...Option) harness.System) []harness.Scenario {
	return []harness.Scenario{
		{
			Name:     "lost-confirmation",
			About:    "The answer to a confirmation is lost and the client confirms again: it must hear what it did not hear the first time.",
			System:   system(),
			Needs:    []string{hasReservations},
			Workload: harness.Checkout{Reservations: 0.3},
			Faults:   harness.Schedule{harness.At(harness.Confirmation("stock"), faults.Reset("client->stock"))},
			Exposes:  []string{"confirm-idempotent"},
		},
		{
			Name:     "late-cancel",
			About:    "Clients cancel reservations that they have confirmed, over a slow link: what was sold stays sold.",
			System:   system(),
			Needs:    []string{hasReservations},
			Workload: harness.Checkout{Reservations: 0.5, LateCancels: 0.7},
			Faults: harness.Schedule{harness.During(200*time.Millisecond, 1500*time.Millisecond,
				faults.Latency("client->stock", 30*time.Millisecond, 20*time.Millisecond))},
			Exposes: []string{"settle-once"},
		},
	}
}
