// Package inbox owns how a consumed record takes effect once: it is retried, deduplicated by the inbox table in the
// transaction of its effect, or dead-lettered.
package inbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/broker"
	"github.com/ordeal-chaos/ordeal/services/internal/db"
	"github.com/ordeal-chaos/ordeal/services/internal/events"
	"github.com/ordeal-chaos/ordeal/services/internal/guard"
	"github.com/ordeal-chaos/ordeal/services/internal/outbox"
)

// Outcomes of a record.
const (
	Applied      = "applied"
	Ignored      = "ignored" // valid, and there was nothing to do
	DeadLettered = "dead-lettered"
	Replayed     = "replayed" // was dead-lettered, and applied or ignored later
)

// errDuplicate rolls back the transaction of an event that has its outcome already.
var errDuplicate = errors.New("event was processed before")

// grace is what the transaction in progress gets to end when its partition is taken away.
const grace = 400 * time.Millisecond

// Effect does what an event asks for, in one transaction to which it adds the receipt. It can be called again with the
// same event, after an error that came before or after the commit.
type Effect func(ctx context.Context, receipt *Receipt, e events.Event) error

// Processor handles the records of one consumer group. All fields are required.
type Processor struct {
	Group     string
	Topics    []string // without their retry topics
	Failures  string   // the part: what becomes of a record that used up its attempts
	DB        *db.DB
	Publisher *outbox.Publisher
	Producer  *broker.Producer
	Guards    *guard.Set
	Retry     Retry
	Effect    Effect
	Log       *slog.Logger

	unawaited sync.WaitGroup // dead letters on their way
}

// Close waits for what is still being produced.
func (p *Processor) Close() { p.unawaited.Wait() }

// Receipt is the inbox row of one record.
type Receipt struct {
	processor *Processor
	record    broker.Record
	event     events.Event // as far as it could be read
	eventID   string
	parked    bool // it comes from a retry topic
	replay    bool // it comes from a dead-letter topic
}

func (p *Processor) receipt(record broker.Record, event events.Event) *Receipt {
	return &Receipt{processor: p, record: record, event: event, eventID: eventID(record, event)}
}

// Add adds the inbox row to a batch. When the event has one, sending the batch fails, and the effect must roll back.
func (r *Receipt) Add(batch *pgx.Batch, outcome string) {
	if r.replay {
		r.addReplay(batch)
		return
	}
	var order *string
	var version *int
	if r.processor.Failures == services.Redrive && r.event.OrderID != "" {
		order, version = &r.event.OrderID, &r.event.Version
	}
	batch.Queue(`insert into inbox (consumer, event_id, outcome, topic, partition, record_offset, order_id, version)
		values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing`,
		r.processor.Group, r.key(), outcome, r.record.Topic, r.record.Partition, r.record.Offset, order, version,
	).Exec(func(tag pgconn.CommandTag) error {
		guards := r.processor.Guards
		if tag.RowsAffected() == 0 && !guards.Lacks(services.InboxDedup) && !guards.Lacks(services.InboxInTransaction) {
			return errDuplicate
		}
		return nil
	})
	if r.parked {
		r.queueUnpark(batch)
	}
}

// key is what the inbox tells events apart by.
func (r *Receipt) key() string {
	if r.event.OrderID != "" && r.processor.Guards.Lacks(services.DedupByEvent) {
		return r.event.OrderID
	}
	return r.eventID
}

// Handle processes a record until it has an outcome, or waits in a retry topic, and acknowledges it. It returns an error only when
// ctx ended first.
func (p *Processor) Handle(ctx context.Context, record broker.Record) error {
	err := p.handle(ctx, record)
	if err == nil {
		record.Acknowledge()
	}
	return err
}

func (p *Processor) handle(ctx context.Context, record broker.Record) error {
	if p.Failures == services.RetryTopics {
		return p.handleOrPark(ctx, record)
	}
	event, invalid := events.Decode(record.Value)
	receipt := p.receipt(record, event)
	if p.Guards.Lacks(services.InboxInTransaction) {
		if handled, err := p.handledBefore(ctx, receipt); err != nil || handled {
			return err
		}
	}
	failures, attempts := 0, 0 // attempts are the failures that count
	for {
		err := invalid
		if err == nil {
			err = p.attempt(ctx, receipt, func(ctx context.Context) error { return p.Effect(ctx, receipt, event) })
		}
		if err == nil {
			return nil
		}
		failures++
		if p.Guards.Lacks(services.StopOnError) {
			receipt.log().Error("process record", "failures", failures, "error", err)
			return nil
		}
		if p.Retry.counts(classify(err), event.Type) {
			attempts++
		}
		if attempts >= p.Retry.Attempts && !p.Guards.Lacks(services.DeadLetter) {
			return p.deadLetter(ctx, receipt, err)
		}
		receipt.log().Warn("process record", "failures", failures, "error", err)
		if err := p.Retry.pause(ctx, failures); err != nil {
			return err
		}
	}
}

func (r *Receipt) log() *slog.Logger {
	return r.processor.Log.With("event", r.eventID, "type", r.event.Type, "order", r.event.OrderID)
}

// handledBefore asks the inbox, in no transaction. The error is that of ctx.
func (p *Processor) handledBefore(ctx context.Context, receipt *Receipt) (handled bool, err error) {
	err = p.until(ctx, receipt, "ask inbox", func(ctx context.Context) error {
		batch := &pgx.Batch{}
		batch.Queue(`select exists (select from inbox where consumer = $1 and event_id = $2)`, p.Group, receipt.key()).
			QueryRow(func(row pgx.Row) error { return row.Scan(&handled) })
		return p.DB.Read(ctx, batch)
	})
	return handled, err
}

// attempt runs one transaction and takes a duplicate for success.
func (p *Processor) attempt(ctx context.Context, receipt *Receipt, work func(context.Context) error) error {
	hard, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })
	defer stop()
	err := work(receipt.oneAtATime(hard))
	if errors.Is(err, errDuplicate) {
		return nil
	}
	return err
}

// until attempts work until it succeeds. The error is that of ctx.
func (p *Processor) until(ctx context.Context, receipt *Receipt, what string, work func(context.Context) error) error {
	for failures := 1; ; failures++ {
		err := p.attempt(ctx, receipt, work)
		if err == nil {
			return nil
		}
		receipt.log().Warn(what, "failures", failures, "error", err)
		if err := p.Retry.pause(ctx, failures); err != nil {
			return err
		}
	}
}

// describe returns the text of an error in a form that Postgres and people can read.
func describe(err error) string {
	const limit = 500
	text := strings.ReplaceAll(err.Error(), "\x00", "")
	if len(text) > limit {
		text = text[:limit]
	}
	return strings.ToValidUTF8(text, "�")
}

// eventID returns the id under which a record is deduplicated: of its header, else of its value, else its position. An
// id that Postgres cannot hold, or that contradicts the value, is none.
func eventID(record broker.Record, event events.Event) string {
	for _, h := range record.Headers {
		id := string(h.Value)
		if h.Key == events.HeaderID && id != "" && id == describe(errors.New(id)) && (event.ID == "" || event.ID == id) {
			return id
		}
	}
	if id := event.ID; id != "" && id == describe(errors.New(id)) {
		return id
	}
	return fmt.Sprintf("%s/%d@%d", record.Topic, record.Partition, record.Offset)
}
