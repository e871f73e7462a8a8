package ordeal

import (
	"time"

	"github.com/ordeal-chaos/ordeal/faults"
	"github.com/ordeal-chaos/ordeal/harness"
)

// directScenarios are about events that are produced without an outbox.
func directScenarios(system func(...Option) harness.System) []harness.Scenario {
	const s = time.Second
	return []harness.Scenario{
		{
			Name:    "lost-acknowledgement",
			About:   "The acknowledgement of an event is held and its connection reset: the producer sends the event again, and the broker must know it.",
			System:  system(),
			Needs:   []string{"in-transaction|after-commit|timeout-compensation"},
			Faults:  harness.Schedule{harness.At(harness.ProduceReply("order"), faults.Reset("order->kafka-*"))},
			Exposes: []string{"idempotent-producer"},
		},
		{
			Name:      "late-acknowledgement",
			About:     "Kafka's acknowledgements come later than the order service waits for them: it cancels orders whose events arrived.",
			System:    system(),
			Needs:     []string{"timeout-compensation"},
			Faults:    harness.Schedule{harness.During(500*time.Millisecond, 2*s, faults.StallResponses("order->kafka-*"))},
			Exercises: []string{"no-leaked-reservation", "compensation-bounded"},
			Exposes:   []string{"announce-compensation"},
		},
		{
			Name:   "compensation-fails",
			About:  "Kafka is out of reach, and so is Postgres by the time that unannounced orders are to be cancelled.",
			System: system(),
			Needs:  []string{"timeout-compensation"},
			Faults: harness.Schedule{
				harness.During(300*time.Millisecond, 3*s, faults.Down("order->kafka-*")),
				harness.During(1*s, 2*s, faults.Down("order->postgres")),
			},
			Exposes: []string{"sweeper"},
		},
		{
			Name:      "aborted-transaction",
			About:     "Kafka's answers come too late: transactions roll back in the database and abort in Kafka, and nobody may act on their events.",
			System:    system(),
			Needs:     []string{"kafka-transaction"},
			Faults:    harness.Schedule{harness.During(500*time.Millisecond, 1500*time.Millisecond, faults.StallResponses("order->kafka-*"))},
			Exercises: []string{"no-aborted-read"},
			Exposes:   []string{"read-committed"},
		},
		{
			Name:    "late-end",
			About:   "The end of a Kafka transaction arrives again when the producer's next one is open, which then rolls back: it must not be committed by the end of another.",
			System:  system(),
			Needs:   []string{"kafka-transaction"},
			Faults:  harness.Schedule{harness.During(500*time.Millisecond, 1500*time.Millisecond, faults.LateEnd("order->kafka-*"))},
			Exposes: []string{"transaction-epoch"},
		},
		{
			Name:   "killed-between-commits",
			About:  "The stock service dies after its COMMIT was answered, before anything of it can be seen in Kafka.",
			System: system(),
			Faults: harness.Schedule{harness.At(harness.CommitReply("stock"), faults.Kill("stock"))},
		},
	}
}
