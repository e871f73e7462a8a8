package services

// describe fills in what is known of a named design from publications.
func describe(d *Design) {
	about, ok := published[d.Name]
	if !ok {
		return
	}
	if about.about != "" {
		d.About = about.about
	}
	d.Source, d.Expects, d.Breaks = about.source, about.expects, about.breaks
}

type publication struct {
	about, source, expects string
	breaks                 []string
}

// published says of each design where it is described and what the literature expects. Expectations are never edited to fit a measurement;
// docs/matrix.md explains where they differ.
var published = map[string]publication{
	"in-transaction": {
		about:   "Events are produced inside the database transaction, before COMMIT, and a failed send rolls it back.",
		source:  "Spring's KafkaTemplate in a @Transactional method; dual write",
		expects: "A kill or an abort between send and COMMIT leaves a phantom, and so does a send that timed out and arrived; an answer can come before the COMMIT that it answers.",
		breaks:  []string{"phantom-event", "leaked-reservation", "stuck-reservation", "stuck-order", "reordered-event", "duplicate-record", "double-effect", "out-of-order-application"},
	},
	"after-commit": {
		about:   "Events are produced once after COMMIT, with retries but without a memory of what is to be sent.",
		source:  "Spring's @TransactionalEventListener, phase AFTER_COMMIT",
		expects: "An abort is harmless; a kill between COMMIT and send, or a send that fails for good, loses the event, and nobody notices.",
		breaks:  []string{"lost-event", "stuck-order", "leaked-reservation", "stuck-reservation"},
	},
	"timeout-compensation": {
		about:   "Events are produced after COMMIT with acks=all; an order whose event was not acknowledged in time is cancelled in a second transaction, and that is announced.",
		source:  "confluent-kafka-dotnet#1475; compensating transactions in the callback of an asynchronous send",
		expects: "As after commit, but a failed send cancels the order; a kill in the gap, or a compensation that fails, leaves it PENDING for ever.",
		breaks:  []string{"lost-event", "stuck-order", "leaked-reservation", "stuck-reservation"},
	},
	"timeout-compensation-sweeper": {
		about:   "As timeout-compensation, with a sweeper that cancels orders that stayed PENDING.",
		source:  "compensating transactions in the callback of an asynchronous send, with a sweeper",
		expects: "An order whose event was lost is cancelled late, and the others learn it; a decision or an answer that is lost in the gap stays lost.",
		breaks:  []string{"lost-event", "leaked-reservation", "stuck-reservation", "missing-deduction"},
	},
	"kafka-transaction": {
		about:   "Events are produced in a Kafka transaction that commits after the database does; consumers read committed records only, and keep their offsets outside of it, because the inbox knows what was handled.",
		source:  "Spring Kafka's transaction synchronization; spring-kafka#2001; KIP-98, KIP-890",
		expects: "An abort is harmless under read_committed; database and Kafka commit one after the other, so that a kill in between, or a COMMIT whose answer is lost, loses the event.",
		breaks:  []string{"lost-event", "leaked-reservation", "stuck-reservation", "missing-deduction"},
	},
	"outbox-cursor": {
		about:   "The relay reads the outbox from a persisted cursor up to the oldest running transaction, and deletes what is behind it.",
		source:  "watermill-sql's offsets with pg_snapshot_xmin (watermill#311), Oskar Dudycz's outbox in Postgres",
		expects: "Holds, with duplicates after a crash; a transaction that runs for long anywhere in the cluster stalls it.",
	},
	"outbox-notify": {
		about:   "The relay is woken by NOTIFY out of the commit itself, and polls ten times less often in case that was lost.",
		source:  "Postgres' LISTEN and NOTIFY, as in graphile-worker, river and dbos-transact",
		expects: "Holds as polling does; what was committed while nobody listened waits for the fallback poll. Needs a session: no pooling by transaction.",
	},
	"outbox-logical": {
		about:   "The relay streams the outbox rows out of the write-ahead log from a replication slot of its own, and deletes what is acknowledged.",
		source:  "Debezium's outbox event router",
		expects: "Holds, in commit order, with duplicates after a crash; a slot that was lost leaves a gap unless the table is read again, and one that nobody reads keeps the log.",
	},
	"rollback-compensation": {
		about:   "Stock is taken over REST before the order is written; a rollback announces that it is to be given back, a commit announces the order.",
		source:  "Spring's @TransactionalEventListener, phases AFTER_COMMIT and AFTER_ROLLBACK",
		expects: "Holds while transactions end in this process; a kill between commit and send loses the event, a kill or a lost answer between taking and writing keeps the stock, and nobody notices.",
		breaks:  []string{"lost-event", "stuck-order", "leaked-reservation", "stuck-reservation"},
	},
	"ack-record": {
		about:  "The offset is committed when the record was processed.",
		source: "spring-kafka, ContainerProperties.AckMode RECORD", expects: "Redelivery is harmless with an inbox row in the same transaction; order and every record are kept.",
	},
	"ack-batch": {
		about:  "Offsets are committed when all records of a poll were processed: spring-kafka's default.",
		source: "spring-kafka, ContainerProperties.AckMode BATCH", expects: "Redelivery is harmless with an inbox row in the same transaction; order and every record are kept.",
	},
	"ack-count": {
		about:  "Offsets are committed after a poll once so many records were processed, or when nothing comes any more.",
		source: "spring-kafka, ContainerProperties.AckMode COUNT", expects: "Redelivery is harmless with an inbox row in the same transaction; order and every record are kept.",
	},
	"ack-count-time": {
		about:  "Offsets are committed after so many records or so much time.",
		source: "spring-kafka, ContainerProperties.AckMode COUNT_TIME", expects: "Redelivery is harmless with an inbox row in the same transaction; order and every record are kept.",
	},
	"ack-manual": {
		about:  "The handler acknowledges, and its offsets are committed after the poll.",
		source: "spring-kafka, ContainerProperties.AckMode MANUAL", expects: "Redelivery is harmless with an inbox row in the same transaction; order and every record are kept.",
	},
	"ack-manual-immediate": {
		about:  "The handler acknowledges, which commits that record at once.",
		source: "spring-kafka, ContainerProperties.AckMode MANUAL_IMMEDIATE", expects: "Redelivery is harmless with an inbox row in the same transaction; order and every record are kept.",
	},
	"auto-commit": {
		about:  "The client commits what it has fetched, every 100 ms, processed or not.",
		source: "Kafka consumer, enable.auto.commit with processing in another thread", expects: "A crash or a rebalance while records are in progress loses them: their offset is passed.", breaks: []string{"offset-before-effects", "skipped-record", "missing-deduction", "stuck-reservation", "leaked-reservation"},
	},
	"fixed-backoff": {
		about:  "A record is tried four times, with the same pause between.",
		source: "spring-kafka, FixedBackOff(1000, 3)", expects: "As the exponential one: blocking retries keep the order of a partition.",
	},
	"direct-dead-letter": {
		about:  "Dead letters are produced and awaited, then the outcome is written, then the offset committed.",
		source: "spring-kafka, DefaultErrorHandler with DeadLetterPublishingRecoverer", expects: "No record is lost as long as the send is awaited; a crash in between leaves a second dead letter.",
	},
	"retry-topics": {
		about:  "Failed records wait in retry topics while their partition goes on; later records of the same order queue behind them.",
		source: "spring-kafka, non-blocking retries; Uber, reliable reprocessing; Confluent, error handling patterns (keeping the order of a key)", expects: "Retry topics alone lose the order by design; with the queue behind parked orders it holds.",
	},
	"redrive": {
		about:  "A job replays dead letters, up to three times each, and records in the inbox that it did.",
		source: "Amazon SQS dead-letter queue redrive", expects: "What was given up for a passing cause is made up for; a letter that newer events of its order overtook stays one.",
	},
	"read-modify-write": {
		about:   "Stock is read, checked in the program, and written back, as an object mapper does by default.",
		source:  "saleor#543; Warszawski and Bailis, ACIDRain (SIGMOD 2017): lost updates of inventories under READ COMMITTED",
		expects: "Broken by contention alone: concurrent orders for one product overwrite each other and oversell.",
		breaks:  []string{"lost-update", "conservation-broken", "oversell", "negative-stock"},
	},
	"version-column": {
		about:   "Stock is written back only where its version is still the one that was read; else it is read again, five times at most.",
		source:  "Fowler, Patterns of Enterprise Application Architecture: Optimistic Offline Lock; JPA's @Version",
		expects: "Holds under contention, with retries; one that has used them up must say so, and is tried again later.",
	},
	"select-for-update": {
		about:   "Stock is read under row locks, taken in the order of products, checked, and written back.",
		source:  "Fowler, Patterns of Enterprise Application Architecture: Pessimistic Offline Lock; PostgreSQL's SELECT ... FOR UPDATE",
		expects: "Holds under contention, and slows down with it; orders of several products deadlock unless everybody locks in one order.",
	},
	"single-writer": {
		about:   "All orders come over one partition; its owner keeps stock in memory and alone writes it, fenced by the generation of its consumer group.",
		source:  "Thompson, Single Writer Principle; Kleppmann, Designing Data-Intensive Applications, chapter 8: fencing tokens",
		expects: "Holds under contention, which there is none; a paused owner that comes back is stopped by the fence alone.",
	},
	"redis-counter": {
		about:   "A script in Redis takes all lines of an order at once; the database follows, and what a rolled-back transaction took is given back.",
		source:  "Redis: Lua scripts run atomically; dtm's flash-sale example, deduction of stock in Redis",
		expects: "Holds under contention; aborts and crashes between Redis and the database part the two unless every take is written down and reconciled.",
	},
	"choreography": {
		about:   "Order, stock and payment react to each other's events: stock that is reserved is paid for, what is paid is confirmed, and a cancellation gives both back.",
		source:  "The saga pattern by choreography (C. Richardson, microservices.io)",
		expects: "Nobody owns the outcome: aborts and reordering leak stock or money unless each edge has an outbox, an inbox and a sweeper behind it. With all three, nothing.",
	},
	"saga": {
		about:   "The order service reserves, charges, confirms and sells step by step over REST, and persists each step before it takes it; a refusal turns back and compensates.",
		source:  "The saga pattern by orchestration (Garcia-Molina and Salem; C. Richardson, microservices.io)",
		expects: "Resumes after any crash, as steps are persisted; redelivery and reordering are harmless where steps are idempotent and fenced. It has no isolation: others see what is compensated later.",
	},
	"tcc-rest": {
		about:   "The order service tries stock and payment over REST, decides the order once, and confirms or cancels at both over REST until each has answered.",
		source:  "Try-Confirm-Cancel (article-tcc; dtm; Seata's TCC mode with its tcc_fence_log)",
		expects: "Holds under contention if Try truly reserves, and under delays and reordering if a fence provides for empty rollback, suspension and repetition; what was decided must never expire.",
	},
	"tcc-kafka": {
		about:   "The order service tries stock and payment over REST and decides the order once; both learn the decision from its events.",
		source:  "Try-Confirm-Cancel with confirmation over Kafka (article-tcc)",
		expects: "As TCC over REST; the confirmation is never lost, because the outbox announces what was decided.",
	},
}
