package ordeal

import (
	"time"

	"github.com/ordeal-chaos/ordeal/faults"
	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/services"
)

// stockScenarios are about how stock is taken. That concurrent writers overwrite each other, last-units shows.
func stockScenarios(system func(...Option) harness.System) []harness.Scenario {
	return []harness.Scenario{
		{
			Name:     "zombie-writer",
			About:    "The owner of all stock is paused for longer than its session, with a COMMIT on the wire that arrives when another owns it.",
			System:   system(StockReplicas(2)),
			Workload: harness.Checkout{SKUs: 2, Lines: 2},
			// Of two members, the range assignor gives a single partition to the last.
			Faults: harness.Schedule{
				harness.At(harness.CommitRequest("stock-2"), faults.Pause("stock-2")).For(1500 * time.Millisecond).ForwardLate(),
			},
			Needs:   []string{services.SingleWriter},
			Exposes: []string{services.EpochFence},
		},
		{
			Name:     "aborted-reservation",
			About:    "A forgotten transaction holds a stock row, and an administrator terminates the stock service's connections: what the counter took for orders that were rolled back must come back.",
			System:   system(StockReplicas(2)),
			Workload: harness.Checkout{SKUs: 4, Lines: 3},
			Faults: harness.Schedule{
				harness.During(300*time.Millisecond, 1*time.Second, faults.RowLock("stock", "stock", "product_id", "sku-001")),
				harness.During(1600*time.Millisecond, 500*time.Millisecond, faults.TerminateBackends("stock")),
			},
			Needs:   []string{services.RedisCounter},
			Exposes: []string{services.CacheUndo},
		},
	}
}
