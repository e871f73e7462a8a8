package ordeal

import (
	"time"

	"github.com/ordeal-chaos/ordeal/faults"
	"github.com/ordeal-chaos/ordeal/harness"
)

// publishingScenarios are about the way from a commit to the log.
func publishingScenarios(system func(...Option) harness.System) []harness.Scenario {
	const s = time.Second
	return []harness.Scenario{
		{
			Name:   "killed-while-publishing",
			About:  "The order service dies with the Produce of an event on the wire, which never arrives: the event must be published again.",
			System: system(),
			Faults: harness.Schedule{harness.At(harness.ProduceRequest("order"), faults.Kill("order"))},
			Needs:  []string{"outbox"}, Exposes: []string{"mark-after-ack"},
		},
		{
			Name:   "killed-before-mark",
			About:  "The order service dies with the acknowledgement of an event on the wire: the event is published twice, and must take effect once.",
			System: system(),
			Faults: harness.Schedule{harness.At(harness.ProduceReply("order"), faults.Kill("order"))},
			Needs:  []string{"outbox"}, Exercises: []string{"duplicates"}, Exposes: []string{"inbox-dedup"},
		},
		{
			Name:     "two-relays",
			About:    "Two order replicas share an outbox, one of them is slow towards Kafka, and most clients cancel at once: the cancel must not overtake.",
			System:   system(OrderReplicas(2)),
			Workload: harness.Checkout{Orders: 90, Cancels: 0.8},
			Faults:   harness.Schedule{harness.During(0, 2500*time.Millisecond, faults.Latency("order-1->kafka-*", 100*time.Millisecond, 20*time.Millisecond))},
			Needs:    []string{"outbox"}, Exposes: []string{"relay-lock"},
		},
		{
			Name:   "long-transaction",
			About:  "The COMMIT of one order is on its way for long, while later ones commit and are published: its event must not be passed over.",
			System: system(),
			Faults: harness.Schedule{harness.At(harness.CommitRequest("order"),
				faults.Latency("order->kafka-*", 10*time.Millisecond, 5*time.Millisecond)).For(800 * time.Millisecond).ForwardLate()},
			Needs: []string{"outbox-cursor"}, Exposes: []string{"horizon"},
		},
		{
			Name:   "lost-notification",
			About:  "The connection that listens for notifications breaks while orders commit: what nobody was told of must be published all the same.",
			System: system(),
			Faults: harness.Schedule{
				harness.During(500*time.Millisecond, 300*time.Millisecond, faults.TerminateBackends("orders")),
				harness.During(1500*time.Millisecond, 300*time.Millisecond, faults.TerminateBackends("orders")),
			},
			Needs: []string{"outbox-notify"}, Exposes: []string{"notify-fallback"},
		},
		{
			Name:   "lost-slot",
			About:  "Kafka is out of reach, the order service is killed, and its replication slot is dropped: what waits in the outbox must not be lost with the slot.",
			System: system(),
			Faults: harness.Schedule{
				harness.During(300*time.Millisecond, 2500*time.Millisecond, faults.Down("order->kafka-*")),
				harness.During(1*s, 1*s, faults.Kill("order"), faults.DropSlot("orders")),
			},
			Needs: []string{"outbox-logical"}, Exposes: []string{"slot-snapshot"},
		},
		{
			Name:    "crash-after-answer",
			About:   "Postgres is killed with the answer to an order's COMMIT on the wire, which arrives: the client is told yes, and the order must be there after recovery.",
			System:  system(),
			Faults:  harness.Schedule{harness.At(harness.CommitReply("order"), faults.PostgresCrash("postgres")).For(1 * s).Forward()},
			Exposes: []string{"synchronous-commit"},
		},
	}
}
