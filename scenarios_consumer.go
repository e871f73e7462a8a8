package ordeal

import (
	"time"

	"github.com/ordeal-chaos/ordeal/faults"
	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/services"
)

// consumerScenarios are about records on their way to an effect: acknowledged, tried again, given up.
func consumerScenarios(system func(...Option) harness.System) []harness.Scenario {
	const s = time.Second
	deadLetters := services.DeadLetterPrefix + services.OrderEvents
	return []harness.Scenario{
		{
			Name:   "overlapping-owners",
			About:  "While the stock service's COMMIT for an order is held, a copy of the event comes by another partition, as it does when two consumers own one: only one of them may reserve.",
			System: system(),
			Faults: harness.Schedule{
				harness.At(harness.CommitRequest("stock"), faults.DuplicateElsewhere(services.OrderEvents, 4, "stock")).Forward(),
			},
			Needs:   []string{hasStockConsumes, services.ConditionalStock},
			Exposes: []string{services.InboxInTransaction},
		},
		{
			Name:   "late-consumer",
			About:  "The stock service is down for so long that Kafka forgets its group's offsets, while orders come: it must begin where the log does.",
			System: system(),
			Faults: harness.Schedule{harness.During(500*time.Millisecond, 1*s, faults.ExpireOffsets("stock"))},
			Needs:  []string{hasStockConsumes}, Exposes: []string{services.ResetEarliest},
		},
		{
			Name:   "lost-dead-letter",
			About:  "The connections to Kafka are reset with a dead letter on the wire: the record is in the dead-letter topic all the same, or not passed.",
			System: system(),
			Faults: harness.Schedule{
				harness.At(harness.ProduceRequestTo("stock", deadLetters), faults.Reset("stock->kafka-*")),
				harness.During(800*time.Millisecond, 500*time.Millisecond, faults.Poison(services.OrderEvents)),
			},
			Exercises: []string{"dead-letters-complete"},
			Needs:     []string{hasStockConsumes}, Exposes: []string{services.AwaitDeadLetter},
		},
		{
			Name:     "overtaken-retry",
			About:    "A row lock sends placed orders to the retry topic, and their clients cancel: the cancellation must not overtake.",
			System:   system(),
			Workload: harness.Checkout{SKUs: 3, Lines: 1, Cancels: 0.5},
			Faults: harness.Schedule{
				// Short enough for the last attempt to succeed.
				harness.During(300*time.Millisecond, 800*time.Millisecond, faults.RowLock("stock", "stock", "product_id", "sku-001")),
			},
			Needs: []string{hasStockConsumes, services.RetryTopics}, Exposes: []string{services.RetryKeepsOrder},
		},
	}
}
