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
			About:  "Stock is taken before the order is written, and a migration locks the order's table: every attempt rolls back, and the stock must be given back, once.",
			System: system(),
			Needs:  []string{"stock-first"},
			// The service chooses the ids: a client's retry is another order, which does not find the stock of the first.
			Workload:  harness.Checkout{ServerIDs: true},
			Faults:    harness.Schedule{harness.During(500*time.Millisecond, 1*s, faults.TableLock("orders", "order_lines"))},
			Exercises: []string{"compensation-bounded", "no-leaked-reservation"},
			Exposes:   []string{"compensate-once", "compensate-first"},
		},
		{
			Name:      "concurrent-tries",
			About:     "Two stock replicas and slow database links race for the last units: what a Try said is there, its Confirm must find.",
			System:    system(StockReplicas(2)),
			Needs:     []string{"saga|tcc-rest|tcc-kafka"},
			Workload:  harness.Checkout{Orders: 120, Rate: 60, SKUs: 2, Lines: 1, Stock: 60, MaxQty: 2, Reservations: 0.3},
			Faults:    harness.Schedule{harness.During(0, 2500*time.Millisecond, faults.Latency("stock-1->postgres", 8*time.Millisecond, 6*time.Millisecond))},
			Exercises: []string{"contention"},
			Exposes:   []string{"try-reserves"},
		},
		{
			Name:      "lost-try",
			About:     "The stock service cannot be reached for longer than orders live: they expire untried, and cancelling them must give nothing back.",
			System:    system(),
			Needs:     []string{"saga|tcc-rest|tcc-kafka"},
			Faults:    harness.Schedule{harness.During(500*time.Millisecond, orderTTL+1*s, faults.Down("order->stock"))},
			Exercises: []string{"no-leaked-reservation"},
			Exposes:   []string{"empty-rollback"},
		},
		{
			Name:   "delayed-try",
			About:  "Requests to the stock service are held up for longer than orders live, and one Try comes after all else is over: after its Cancel it must not reserve.",
			System: system(),
			Needs:  []string{"saga|tcc-rest|tcc-kafka"},
			Faults: harness.Schedule{harness.At(harness.CallRequest("order", "stock", "POST"), faults.StallRequests("order->stock")).
				For(orderTTL + 500*time.Millisecond).ForwardAfter(1500 * time.Millisecond)},
			Exercises: []string{"no-leaked-reservation"},
			Exposes:   []string{"suspension-fence"},
		},
		{
			Name:     "fenced-try",
			About:    "The order service dies between the Cancels of a refused order and its decision: resumed, it tries again, and must take no for an answer.",
			System:   system(),
			Needs:    []string{"tcc-rest|tcc-kafka"},
			Workload: harness.Checkout{Orders: 150, Rate: 60, SKUs: 2, Lines: 1, Stock: 40},
			// By then nothing is left.
			Faults:    harness.Schedule{harness.At(harness.CommitRequest("order").With("CANCELLED"), faults.Kill("order")).After(1500 * time.Millisecond)},
			Exercises: []string{"no-leaked-reservation"},
			Exposes:   []string{"fenced-try-fails"},
		},
		{
			Name:   "slow-confirm",
			About:  "The stock service cannot be reached between the decision and its Confirm, for longer than a Try holds: what was decided must not expire.",
			System: system(),
			Needs:  []string{"tcc-rest|tcc-kafka"},
			Faults: harness.Schedule{harness.At(harness.CommitReply("order").With("CONFIRMED"), faults.Down("order->stock")).
				For(reservationTTL + 1*s).Forward()},
			Exposes: []string{"expiry-asks"},
		},
		{
			Name:   "coordinator-dies",
			About:  "The order service is killed while its participants are slow, with orders at every step: each must be taken up again, and end once.",
			System: system(),
			Needs:  []string{"saga|tcc-rest|tcc-kafka"},
			Faults: harness.Schedule{
				harness.During(0, 3*s, faults.Latency("order->stock", 60*time.Millisecond, 40*time.Millisecond)),
				harness.During(0, 3*s, faults.Latency("order->payment", 60*time.Millisecond, 40*time.Millisecond)),
				harness.During(1*s, 500*time.Millisecond, faults.Kill("order")),
			},
		},
	}
}
