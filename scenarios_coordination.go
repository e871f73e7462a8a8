package ordeal

import (
	"time"

	"github.com/ordeal-chaos/ordeal/faults"
	"github.com/ordeal-chaos/ordeal/harness"
)

// coordinationScenarios break what is between the participants of an order.
func coordinationScenarios(system func(...Option) harness.System) []harness.Scenario {
	const s = time.Second
	return []harness.Scenario{
		{
			Name:   "insert-fails",
			About:  "Stock is taken before the order is written, and the database refuses the order: every attempt rolls back, and the stock must be given back, once.",
			System: system(),
			Needs:  []string{"stock-first"},
			// The service chooses the ids: a client's retry is another order, which does not find the stock of the first.
			Workload:  harness.Checkout{ServerIDs: true},
			Faults:    harness.Schedule{harness.During(500*time.Millisecond, 1*s, faults.Down("order->postgres"))},
			Exercises: []string{"compensation-bounded", "no-leaked-reservation"},
			Exposes:   []string{"compensate-once", "compensate-first"},
		},
	}
}
