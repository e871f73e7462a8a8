package ordeal

import (
	"time"

	"github.com/ordeal-chaos/ordeal/faults"
	"github.com/ordeal-chaos/ordeal/harness"
)

func paymentScenarios(system func(...Option) harness.System) []harness.Scenario {
	const s = time.Second
	return []harness.Scenario{
		{
			Name:      "late-payment",
			About:     "The stock service is cut from Kafka for longer than orders live, so that they are to be paid for when they are long cancelled: nothing may be charged then.",
			System:    system(),
			Needs:     []string{"payment", "choreography"},
			Faults:    harness.Schedule{harness.During(500*time.Millisecond, orderTTL+1*s, faults.Stall("stock->kafka-*"))},
			Exercises: []string{"no-leaked-reservation", "compensation-bounded"},
			Exposes:   []string{"refund-late"},
		},
		{
			Name:      "stalled-payment",
			About:     "The payment service is cut from Kafka for longer than orders live, and then hears of reservations and of their cancellations at once, in any order: no money may stay.",
			System:    system(),
			Needs:     []string{"payment", "choreography"},
			Faults:    harness.Schedule{harness.During(500*time.Millisecond, orderTTL+1*s, faults.Stall("payment->kafka-*"))},
			Exercises: []string{"no-leaked-reservation", "compensation-bounded"},
		},
		{
			Name:      "declined-payments",
			About:     "A third of the orders costs more than the payment service takes, and it is killed meanwhile: they are cancelled, their stock goes back, and nothing is charged.",
			System:    system(PaymentLimit(4 * harness.Price)),
			Needs:     []string{"payment"},
			Workload:  harness.Checkout{Orders: 90, Cancels: 0.1},
			Faults:    harness.Schedule{harness.During(600*time.Millisecond, 1*s, faults.Kill("payment"))},
			Exercises: []string{"no-leaked-reservation", "compensation-bounded", "declines"},
		},
		{
			Name:   "killed-after-capture",
			About:  "The payment service dies after it captured and before anybody heard of it: the order must still learn that it is paid.",
			System: system(),
			Needs:  []string{"payment"},
			Faults: harness.Schedule{harness.At(harness.CommitReply("payment"), faults.Kill("payment")).After(300 * time.Millisecond)},
		},
		{
			Name:     "cancels-race-payment",
			About:    "Half of the clients cancel at once while the payment service's database is slow: a charge and its cancellation meet, and the money must end where the order does.",
			System:   system(),
			Needs:    []string{"payment"},
			Workload: harness.Checkout{Orders: 90, Cancels: 0.5},
			Faults: harness.Schedule{
				harness.During(0, 2500*time.Millisecond, faults.Latency("payment->postgres", 30*time.Millisecond, 20*time.Millisecond)),
			},
			Exercises: []string{"no-leaked-reservation", "compensation-bounded"},
		},
	}
}
