package services

import (
	"fmt"
	"slices"
	"strings"
)

// Parts are the choices that make a design, one on each axis. They are names of [Catalogue] parts; the zero value of
// an axis is its first part.
type Parts struct {
	Publishing   string // how a transaction's events reach Kafka
	Coordination string // who decides an order, and how the participants learn it
	Payment      string // whether orders are paid for
	Stock        string // how stock is taken
	Ack          string // when offsets are committed
	Backoff      string // how long to wait between the attempts of a record
	Failures     string // what becomes of a record that used up its attempts
}

// The parts. The first of each group is that of the sound design.
const (
	OutboxPolling        = "outbox-polling"
	OutboxCursor         = "outbox-cursor"
	OutboxNotify         = "outbox-notify"
	OutboxLogical        = "outbox-logical"
	InTransaction        = "in-transaction"
	AfterCommit          = "after-commit"
	RollbackCompensation = "rollback-compensation"
	TimeoutCompensation  = "timeout-compensation"
	KafkaTransaction     = "kafka-transaction"

	Choreography = "choreography"
	StockFirst   = "stock-first"
	Saga         = "saga"
	TCCRest      = "tcc-rest"
	TCCKafka     = "tcc-kafka"

	NoPayment = "no-payment"
	Payment   = "payment"

	ConditionalStock = "conditional-stock"
	ReadModifyWrite  = "read-modify-write"
	VersionColumn    = "version-column"
	SelectForUpdate  = "select-for-update"
	SingleWriter     = "single-writer"
	RedisCounter     = "redis-counter"

	AckTime            = "ack-time"
	AckRecord          = "ack-record"
	AckBatch           = "ack-batch"
	AckCount           = "ack-count"
	AckCountTime       = "ack-count-time"
	AckManual          = "ack-manual"
	AckManualImmediate = "ack-manual-immediate"
	AutoCommit         = "auto-commit"

	ExponentialBackoff = "exponential-backoff"
	FixedBackoff       = "fixed-backoff"

	OutboxDeadLetter = "outbox-dead-letter"
	DirectDeadLetter = "direct-dead-letter"
	RetryTopics      = "retry-topics"
	Redrive          = "redrive"
)

// Part is one way to do what its axis is about.
type Part struct {
	Axis  string // "publishing"
	Name  string // unique over all axes
	About string // one sentence
}

// axes are the fields of Parts with their names, in the order of the documentation.
var axes = []struct {
	name  string
	field func(*Parts) *string
}{
	{"publishing", func(p *Parts) *string { return &p.Publishing }},
	{"coordination", func(p *Parts) *string { return &p.Coordination }},
	{"payment", func(p *Parts) *string { return &p.Payment }},
	{"stock", func(p *Parts) *string { return &p.Stock }},
	{"acknowledgement", func(p *Parts) *string { return &p.Ack }},
	{"backoff", func(p *Parts) *string { return &p.Backoff }},
	{"failures", func(p *Parts) *string { return &p.Failures }},
}

// Catalogue returns every part; the first of each axis is that of the sound design.
func Catalogue() []Part {
	return []Part{
		{"publishing", OutboxPolling, "A relay polls the outbox for rows without a mark, and marks them once they are acknowledged."},
		{"publishing", OutboxCursor, "A relay reads the outbox from a cursor on, up to the oldest transaction that is still running."},
		{"publishing", OutboxNotify, "A relay is woken by NOTIFY from the commit itself, and polls now and then in case that was lost."},
		{"publishing", OutboxLogical, "A relay reads the outbox rows from the write-ahead log, by logical decoding."},
		{"publishing", InTransaction, "Events are produced before COMMIT, inside the transaction."},
		{"publishing", AfterCommit, "Events are produced once, after COMMIT."},
		{"publishing", RollbackCompensation, "Events are produced after COMMIT; a rollback produces an event that gives the stock back."},
		{"publishing", TimeoutCompensation, "Events are produced after COMMIT with acks=all; a send that fails or times out cancels the order in a second transaction."},
		{"publishing", KafkaTransaction, "Events are produced in a Kafka transaction that commits after the database does; consumers read committed records only."},

		{"coordination", Choreography, "Each service reacts to the events of the others."},
		{"coordination", StockFirst, "The order service takes stock over REST before it writes the order."},
		{"coordination", Saga, "The order service commands the others step by step over REST, and persists each step before it takes it."},
		{"coordination", TCCRest, "The order service tries, then confirms or cancels at every participant over REST, with retries."},
		{"coordination", TCCKafka, "The order service tries over REST; the decision goes to the participants over Kafka."},

		{"payment", NoPayment, "Orders are not paid for."},
		{"payment", Payment, "A payment service charges for each order, and refunds."},

		{"stock", ConditionalStock, "One UPDATE takes stock where there is enough."},
		{"stock", ReadModifyWrite, "Stock is read, checked, and written back."},
		{"stock", VersionColumn, "Stock is read, checked, and written back where its version is still the same; else again."},
		{"stock", SelectForUpdate, "Stock is read under a row lock, checked, and written back."},
		{"stock", SingleWriter, "All orders come over one partition, whose owner alone writes stock, fenced by the group's generation."},
		{"stock", RedisCounter, "A script in Redis takes stock atomically; the database follows."},

		{"acknowledgement", AckTime, "Offsets of processed records are committed in the background, every 20 ms."},
		{"acknowledgement", AckRecord, "The offset is committed when the record was processed (RECORD)."},
		{"acknowledgement", AckBatch, "Offsets are committed when all records of a poll were processed (BATCH)."},
		{"acknowledgement", AckCount, "Offsets are committed when so many records were processed (COUNT)."},
		{"acknowledgement", AckCountTime, "Offsets are committed after so many records or so much time, whichever is first (COUNT_TIME)."},
		{"acknowledgement", AckManual, "The handler acknowledges, and its offsets are committed after the poll (MANUAL)."},
		{"acknowledgement", AckManualImmediate, "The handler acknowledges, which commits that record at once (MANUAL_IMMEDIATE)."},
		{"acknowledgement", AutoCommit, "The client commits what it has fetched, every so often, processed or not."},

		{"backoff", ExponentialBackoff, "The pause doubles after each failure, up to a bound."},
		{"backoff", FixedBackoff, "The pause is the same after each failure (FixedBackOff)."},

		{"failures", OutboxDeadLetter, "The dead letter goes through the outbox, in one transaction with the record's outcome."},
		{"failures", DirectDeadLetter, "The dead letter is produced and awaited before the record's offset is committed (DeadLetterPublishingRecoverer)."},
		{"failures", RetryTopics, "A failed record waits in retry topics while its partition goes on; records of the same order queue behind it."},
		{"failures", Redrive, "Dead letters are replayed in batches by a job, once their cause may be gone."},
	}
}

// withDefaults fills empty axes with their first part.
func (p Parts) withDefaults() Parts {
	for _, axis := range axes {
		if field := axis.field(&p); *field == "" {
			i := slices.IndexFunc(Catalogue(), func(part Part) bool { return part.Axis == axis.name })
			*field = Catalogue()[i].Name
		}
	}
	return p
}

// Names lists the parts, one of each axis, in the order of the axes.
func (p Parts) Names() []string {
	p = p.withDefaults()
	var names []string
	for _, axis := range axes {
		names = append(names, *axis.field(&p))
	}
	return names
}

// String returns the parts in the form that ParseParts reads.
func (p Parts) String() string { return strings.Join(p.Names(), "+") }

// ParseParts reads part names joined by +. Axes that are not named keep their first part. It refuses a name that is no
// part, naming the nearest, and parts that contradict each other.
func ParseParts(list string) (Parts, error) {
	var p Parts
	for name := range strings.SplitSeq(list, "+") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		if err := p.set(name); err != nil {
			return Parts{}, err
		}
	}
	p = p.withDefaults()
	return p, p.contradiction()
}

func (p *Parts) set(name string) error {
	parts := Catalogue()
	i := slices.IndexFunc(parts, func(part Part) bool { return part.Name == name })
	if i < 0 {
		return fmt.Errorf("unknown part %q: did you mean %q?", name, nearest(name, partNames()))
	}
	for _, axis := range axes {
		if axis.name != parts[i].Axis {
			continue
		}
		field := axis.field(p)
		if *field != "" && *field != name {
			return fmt.Errorf("parts %q and %q contradict each other: both are about %s", *field, name, axis.name)
		}
		*field = name
	}
	return nil
}

func partNames() []string {
	var names []string
	for _, part := range Catalogue() {
		names = append(names, part.Name)
	}
	return names
}

// contradiction says which parts cannot be together, and why.
func (p Parts) contradiction() error {
	refuse := func(a, b, why string) error {
		return fmt.Errorf("parts %q and %q contradict each other: %s", a, b, why)
	}
	switch {
	case len(p.Consumes(StockService)) == 0 && !p.consumesAsSound():
		return refuse(p.Coordination, strings.Join([]string{p.Ack, p.Backoff, p.Failures}, "+"), "nobody consumes events there")
	case p.CoordinatesOverREST() && p.Payment == NoPayment:
		return refuse(p.Coordination, p.Payment, "there would be nothing to coordinate but stock")
	case p.Coordination == StockFirst && p.Payment == Payment:
		return refuse(p.Coordination, p.Payment, "nobody would charge for the order")
	case p.Publishing == RollbackCompensation && p.Coordination != StockFirst:
		return refuse(p.Publishing, p.Coordination, "a rollback has stock to give back only where stock is taken before the order: use "+StockFirst)
	case p.Stock == SingleWriter && p.Coordination != Choreography:
		return refuse(p.Stock, p.Coordination, "requests over REST would write beside the single writer")
	case p.Stock == SingleWriter && (p.Failures == RetryTopics || p.Failures == Redrive):
		return refuse(p.Stock, p.Failures, "records that are tried again come round the writer's partition")
	case p.Publishing == KafkaTransaction && p.Coordination != Choreography:
		return refuse(p.Publishing, p.Coordination, "only events that services exchange over Kafka can be in its transaction")
	case p.Failures == RetryTopics && !strings.HasPrefix(p.Publishing, "outbox-") && p.Publishing != KafkaTransaction:
		return refuse(p.Failures, p.Publishing, "a record that was set aside must come back: its retry goes through an outbox")
	case p.Publishing == KafkaTransaction && p.Failures != OutboxDeadLetter:
		return refuse(p.Publishing, p.Failures, "its dead letters are produced in the transaction too")
	}
	return nil
}

// consumesAsSound reports whether the parts that are about consumers are those of the sound design.
func (p Parts) consumesAsSound() bool {
	sound := Parts{}.withDefaults()
	return p.Ack == sound.Ack && p.Backoff == sound.Backoff && p.Failures == sound.Failures
}
