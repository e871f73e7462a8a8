package ordeal

import (
	"slices"
	"time"

	"github.com/ordeal-chaos/ordeal/faults"
	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/services"
)

// Catalogue lists the scenarios that the reference system must survive. system makes the system under
// test, so that the same scenarios run against every design and with guards removed.
func Catalogue(system func(...Option) harness.System) []harness.Scenario {
	const s = time.Second
	return slices.Concat([]harness.Scenario{
		{
			Name:      "calm",
			About:     "No fault at all: orders, client cancels and REST reservations, to know that the harness raises no false alarm.",
			System:    system(),
			Needs:     []string{hasReservations},
			Workload:  harness.Checkout{Orders: 60, Cancels: 0.2, Reservations: 0.2},
			Exercises: []string{"no-leaked-reservation", "compensation-bounded"},
		},
		{
			Name:    "redelivery",
			About:   "The stock service's group reads again what it has handled.",
			System:  system(),
			Needs:   []string{hasStockConsumes},
			Faults:  harness.Schedule{harness.During(1*s, 1500*time.Millisecond, faults.Redeliver("stock", 30))},
			Exposes: []string{"inbox-dedup"},
		},
		{
			Name:    "killed-before-commit",
			About:   "The order service dies while its COMMIT is on the wire and never arrives: nothing happened, so nothing may be announced.",
			System:  system(),
			Faults:  harness.Schedule{harness.At(harness.CommitRequest("order"), faults.Kill("order"))},
			Exposes: []string{"outbox"},
		},
		{
			Name:   "killed-after-commit",
			About:  "The order service dies after its COMMIT was answered and before its Produce left: the order must still be announced.",
			System: system(),
			// The service chooses the ids: the retry is recognised by what the first attempt committed.
			Workload: harness.Checkout{ServerIDs: true},
			Faults:   harness.Schedule{harness.At(harness.CommitReply("order"), faults.Kill("order"))},
			Exposes:  []string{"after-commit-outbox"},
		},
		{
			Name:     "last-units",
			About:    "Two stock replicas and slow database links race for the last units of two SKUs, with REST reservations beside the orders.",
			System:   system(StockReplicas(2)),
			Needs:    []string{hasReservations, laterRefusals},
			Workload: harness.Checkout{Orders: 120, Rate: 60, SKUs: 2, Lines: 1, Stock: 60, MaxQty: 2, Reservations: 0.3},
			Faults: harness.Schedule{harness.During(0, 2500*time.Millisecond,
				faults.Latency("stock-1->postgres", 8*time.Millisecond, 6*time.Millisecond),
				faults.Latency("stock-2->postgres", 8*time.Millisecond, 6*time.Millisecond))},
			Exercises: []string{"no-leaked-reservation", "contention"},
			Exposes:   []string{"conditional-update"},
		},
		{
			Name:      "late-answer",
			About:     "The stock service is cut from Kafka for longer than orders live: they expire, and its late answers must not bring them back.",
			System:    system(),
			Needs:     []string{services.Choreography, hasSweeper},
			Faults:    harness.Schedule{harness.During(500*time.Millisecond, orderTTL+1*s, faults.Stall("stock->kafka-*"))},
			Exercises: []string{"no-leaked-reservation", "compensation-bounded"},
			Exposes:   []string{"cas-transition"},
		},
		{
			Name:   "stale-sweeper",
			About:  "Stock answers again just as orders expire, and the order service's database is slow: the sweeper decides on what it read a while ago, and must not undo a confirmation.",
			System: system(),
			Needs:  []string{services.Choreography, hasSweeper},
			Faults: harness.Schedule{
				harness.During(300*time.Millisecond, orderTTL+300*time.Millisecond, faults.Stall("stock->kafka-*")),
				harness.During(orderTTL, 2*s, faults.Latency("order->postgres", 40*time.Millisecond, 0)),
			},
			Exercises: []string{"no-leaked-reservation", "compensation-bounded"},
			Exposes:   []string{"cas-transition"},
		},
		{
			Name:      "row-lock",
			About:     "A forgotten transaction holds a stock row: orders for that SKU are dead-lettered, and the sweeper must end them.",
			System:    system(),
			Needs:     []string{services.Choreography},
			Faults:    harness.Schedule{harness.During(300*time.Millisecond, 3500*time.Millisecond, faults.RowLock("stock", "stock", "product_id", "sku-001"))},
			Exercises: []string{"dead-letters-complete"},
			Exposes:   []string{"sweeper"},
		},
		{
			Name:      "poison-record",
			About:     "A record that nobody can decode is in the way of orders: it must be set aside, not block or vanish.",
			System:    system(),
			Needs:     []string{hasOrderConsumes, hasStockConsumes},
			Faults:    harness.Schedule{harness.During(500*time.Millisecond, 1*s, faults.Poison("order-events"), faults.Poison("stock-events"))},
			Exercises: []string{"dead-letters-complete"},
			Exposes:   []string{"dead-letter"},
		},
		{
			Name:     "lost-answer",
			About:    "The answer to an order is lost and the client tries again without the order's id: only the idempotency key tells the two apart.",
			System:   system(),
			Workload: harness.Checkout{OmitOrder: true},
			Faults:   harness.Schedule{harness.At(harness.Answer("order"), faults.Reset("client->order"))},
			Exposes:  []string{"idempotency-key"},
		},
		{
			Name:   "broker-outage",
			About:  "Kafka is stopped in good order for two seconds and comes back with its data.",
			System: system(),
			Faults: harness.Schedule{harness.During(500*time.Millisecond, 2*s, faults.BrokerOutage())},
		},
		{
			Name:   "broker-crash",
			About:  "Kafka is killed and restarted at once while orders flow.",
			System: system(),
			Faults: harness.Schedule{harness.During(800*time.Millisecond, 1*s, faults.BrokerCrash())},
		},
		{
			Name:   "postgres-crash",
			About:  "Postgres and all its backends are killed, and it recovers from its write-ahead log.",
			System: system(),
			Faults: harness.Schedule{harness.During(500*time.Millisecond, 1*s, faults.PostgresCrash("postgres"))},
		},
		{
			Name:   "backends-terminated",
			About:  "An administrator terminates every database connection of both services.",
			System: system(),
			Faults: harness.Schedule{
				harness.During(500*time.Millisecond, 500*time.Millisecond, faults.TerminateBackends("orders")),
				harness.During(800*time.Millisecond, 500*time.Millisecond, faults.TerminateBackends("stock")),
			},
		},
		{
			Name:   "database-refused",
			About:  "The order service's database connections are reset and refused for a second.",
			System: system(),
			Faults: harness.Schedule{harness.During(500*time.Millisecond, 1*s, faults.Down("order->postgres"))},
		},
		{
			Name:   "slow-network",
			About:  "Latency with jitter towards the database and a narrow pipe to Kafka, together.",
			System: system(),
			Faults: harness.Schedule{
				harness.During(300*time.Millisecond, 2*s, faults.Latency("order->postgres", 20*time.Millisecond, 10*time.Millisecond)),
				harness.During(300*time.Millisecond, 2*s, faults.Bandwidth("order->kafka-*", 2)),
			},
		},
		{
			Name:   "swallowed-acks",
			About:  "One direction only: Kafka hears the services, they hear nothing back; then the other way round.",
			System: system(),
			Needs:  []string{hasStockConsumes},
			Faults: harness.Schedule{
				harness.During(300*time.Millisecond, 1500*time.Millisecond, faults.StallResponses("order->kafka-*")),
				harness.During(2*s, 1500*time.Millisecond, faults.StallRequests("stock->kafka-*")),
			},
		},
		{
			Name:   "cut-responses",
			About:  "Kafka's answers to the order service break off after a few bytes, again and again: the surest maker of duplicate records.",
			System: system(),
			Faults: harness.Schedule{harness.During(300*time.Millisecond, 1500*time.Millisecond, faults.CutResponses("order->kafka-*", 600))},
		},
		{
			Name:     "resets",
			About:    "Connections are reset under both services and their clients, and closing takes its time.",
			System:   system(),
			Needs:    []string{hasStockConsumes},
			Workload: harness.Checkout{NoKeepAlive: true},
			Faults: harness.Schedule{
				harness.During(400*time.Millisecond, 300*time.Millisecond, faults.Reset("order->postgres"), faults.Reset("stock->kafka-*")),
				harness.During(900*time.Millisecond, 1*s, faults.SlowClose("client->order", 300*time.Millisecond)),
			},
		},
		{
			Name:   "duplicate-records",
			About:  "Copies of recent events are appended to both topics while the stock service is redeployed.",
			System: system(),
			Needs:  []string{hasOrderConsumes, hasStockConsumes},
			Faults: harness.Schedule{
				harness.During(600*time.Millisecond, 1*s, faults.Duplicate("order-events", 20), faults.Duplicate("stock-events", 20)),
				harness.During(900*time.Millisecond, 300*time.Millisecond, faults.Terminate("stock")),
			},
		},
		{
			Name:   "replica-dies",
			About:  "One of two stock replicas is killed; the other must take over its partitions, and both share again when it returns.",
			System: system(StockReplicas(2)),
			Needs:  []string{hasStockConsumes},
			Faults: harness.Schedule{harness.During(500*time.Millisecond, 3*s, faults.Kill("stock-1"))},
		},
		{
			Name:   "zombie-replica",
			About:  "One of two stock replicas is paused for longer than its session, loses its partitions, and comes back believing that it owns them.",
			System: system(StockReplicas(2)),
			Needs:  []string{hasStockConsumes},
			Faults: harness.Schedule{harness.During(500*time.Millisecond, 4*s, faults.Pause("stock-1"))},
		},
		{
			Name:   "paused-at-commit",
			About:  "A stock transaction's COMMIT is held and its database paused, then both go on; elsewhere Kafka pauses with a Produce in its hands.",
			System: system(),
			Faults: harness.Schedule{
				harness.At(harness.CommitRequest("stock"), faults.Pause("postgres")).Forward(),
				harness.At(harness.ProduceRequest("order"), faults.BrokerPause()).After(2 * s).Forward(),
			},
		},
		{
			Name:   "reset-at-produce-reply",
			About:  "The acknowledgement of an event is held, its connection reset, and the event published again.",
			System: system(),
			Needs:  []string{hasOrderConsumes},
			Faults: harness.Schedule{harness.At(harness.ProduceReply("stock"), faults.Reset("stock->kafka-*"))},
		},
		{
			Name:   "killed-with-the-answer",
			About:  "Postgres is killed with the answer to a stock COMMIT on the wire: committed, and the service never learns. Later the stock service is paused with a Produce on the wire, for longer than its session.",
			System: system(),
			Needs:  []string{hasOrderConsumes},
			Faults: harness.Schedule{
				harness.At(harness.CommitReply("stock"), faults.PostgresCrash("postgres")),
				harness.At(harness.ProduceRequest("stock"), faults.Pause("stock")).After(3 * s).For(2500 * time.Millisecond).Forward(),
			},
		},
		{
			Name:             "stock-database-crash",
			About:            "Each service has a Postgres server of its own, and only the stock service's is killed.",
			System:           system(),
			SeparatePostgres: true,
			Faults:           harness.Schedule{harness.During(500*time.Millisecond, 1500*time.Millisecond, faults.PostgresCrash("postgres-stock"))},
		},
		{
			Name:   "killed-mid-record",
			About:  "The stock service is killed while its database is slow, so that it dies within a record: neither its effect nor its offset may stand alone.",
			System: system(),
			Needs:  []string{hasStockConsumes},
			Faults: harness.Schedule{
				harness.During(0, 3*s, faults.Latency("stock->postgres", 60*time.Millisecond, 20*time.Millisecond)),
				harness.During(1*s, 500*time.Millisecond, faults.Kill("stock")),
			},
		},
		{
			Name:      "scarce-baskets",
			About:     "Orders of three lines race for little stock on two replicas: an order that one line refuses must hold nothing of the others.",
			System:    system(StockReplicas(2)),
			Needs:     []string{hasReservations, laterRefusals},
			Workload:  harness.Checkout{Orders: 120, Rate: 60, SKUs: 4, Lines: 3, Stock: 60, MaxQty: 2, Reservations: 0.2},
			Faults:    harness.Schedule{harness.During(200*time.Millisecond, 1500*time.Millisecond, faults.Latency("stock-1->postgres", 10*time.Millisecond, 5*time.Millisecond))},
			Exercises: []string{"no-leaked-reservation", "contention"},
		},
		{
			Name:      "cancels-race",
			About:     "Half of the clients cancel at once, over a slow database link: a cancel and a confirmation meet, and one of them must lose.",
			System:    system(),
			Workload:  harness.Checkout{Orders: 90, Cancels: 0.5},
			Faults:    harness.Schedule{harness.During(0, 2500*time.Millisecond, faults.Latency("order->postgres", 30*time.Millisecond, 20*time.Millisecond))},
			Exercises: []string{"no-leaked-reservation", "compensation-bounded"},
		},
		{
			Name:   "two-of-each",
			About:  "Two order and two stock replicas share their outboxes: one of the relays is slow, another's process is killed.",
			System: system(OrderReplicas(2), StockReplicas(2)),
			Needs:  []string{hasOutbox},
			Faults: harness.Schedule{
				harness.During(200*time.Millisecond, 2500*time.Millisecond, faults.Latency("order-1->kafka-*", 30*time.Millisecond, 20*time.Millisecond)),
				harness.During(800*time.Millisecond, 1500*time.Millisecond, faults.Kill("order-2")),
			},
		},
		{
			Name:   "two-faults",
			About:  "The stock service is killed while Kafka is slow, and the order service loses its stock service.",
			System: system(),
			Needs:  []string{hasStockConsumes},
			Faults: harness.Schedule{
				harness.During(300*time.Millisecond, 3*s, faults.Latency("stock->kafka-*", 40*time.Millisecond, 20*time.Millisecond)),
				harness.During(800*time.Millisecond, 1*s, faults.Kill("stock")),
				harness.During(400*time.Millisecond, 1*s, faults.Down("order->stock")),
			},
		},
	}, publishingScenarios(system), directScenarios(system), consumerScenarios(system), stockScenarios(system),
		paymentScenarios(system), tccScenarios(system), coordinationScenarios(system), clusterScenarios(system))
}

// laterRefusals are the ways of coordination by which an order that cannot be had is taken first, and cancelled then. Where
// stock comes first it is refused at once, and a shortage would be taken for a service that does not serve.
const laterRefusals = services.Choreography + "|" + services.Saga + "|" + services.TCCRest + "|" + services.TCCKafka
