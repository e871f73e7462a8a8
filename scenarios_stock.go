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
			Faults: harness.Schedule{
				harness.At(harness.CommitRequest("stock-1"), faults.Pause("stock-1"), faults.StallRequests("stock-1->postgres")).
					For(1500 * time.Millisecond).Forward(),
			},
			Needs:   []string{services.SingleWriter},
			Exposes: []string{services.EpochFence},
		},
		{
			Name:     "aborted-reservation",
			About:    "An administrator terminates the stock service's database connections under orders of three lines, some of which there is too little for.",
			System:   system(StockReplicas(2)),
			Workload: harness.Checkout{Orders: 120, Rate: 60, SKUs: 4, Lines: 3, Stock: 150, MaxQty: 2},
			Faults: harness.Schedule{
				harness.During(300*time.Millisecond, 500*time.Millisecond, faults.TerminateBackends("stock")),
				harness.During(1*time.Second, 500*time.Millisecond, faults.TerminateBackends("stock")),
				harness.During(300*time.Millisecond, 2*time.Second, faults.RowLock("stock", "stock", "product_id", "sku-001")),
			},
			Needs:   []string{services.RedisCounter},
			Exposes: []string{services.CacheUndo},
		},
	}
}
