// Package inbox owns how a consumed record takes effect once: it is retried, deduplicated by the inbox table in the
// transaction of its effect, or dead-lettered.
package inbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
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
)

// errDuplicate rolls back the transaction of an event that has its outcome already.
var errDuplicate = errors.New("event was processed before")

// grace is what the transaction in progress gets to end when its partition is taken away.
const grace = 400 * time.Millisecond

// Effect does what an event asks for, in one transaction to which it adds the receipt. It can be called again with the
// same event, after an error that came before or after the commit.
type Effect func(ctx context.Context, receipt *Receipt, e events.Event) error

// Processor handles the records of one consumer group.
type Processor struct {
	Group     string
	DB        *db.DB
	Publisher *outbox.Publisher
	Guards    *guard.Set
	Retry     Retry
	Effect    Effect
	Log       *slog.Logger
}

// Receipt is the inbox row of one record.
type Receipt struct {
	processor *Processor
	record    broker.Record
	eventID   string
}

// Add adds the inbox row to a batch. When the event has one, sending the batch fails, and the effect must roll back.
func (r *Receipt) Add(batch *pgx.Batch, outcome string) {
	batch.Queue(`insert into inbox (consumer, event_id, outcome, topic, partition, record_offset) values ($1, $2, $3, $4, $5, $6)
		on conflict do nothing`,
		r.processor.Group, r.eventID, outcome, r.record.Topic, r.record.Partition, r.record.Offset,
	).Exec(func(tag pgconn.CommandTag) error {
		if tag.RowsAffected() == 0 && !r.processor.Guards.Lacks(services.InboxDedup) {
			return errDuplicate
		}
		return nil
	})
}

// Handle processes a record until it has an outcome, and returns an error only when ctx ended first.
func (p *Processor) Handle(ctx context.Context, record broker.Record) error {
	event, invalid := events.Decode(record.Value)
	receipt := &Receipt{processor: p, record: record, eventID: eventID(record, event)}
	log := p.Log.With("event", receipt.eventID, "type", event.Type, "order", event.OrderID)

	failures, attempts := 0, 0 // attempts are the failures that count
	for {
		err := invalid
		if err == nil {
			err = p.attempt(ctx, func(ctx context.Context) error { return p.Effect(ctx, receipt, event) })
		}
		if err == nil {
			return nil
		}
		failures++
		class := classify(err)
		if p.Retry.counts(class, event.Type) {
			attempts++
		}
		if attempts >= p.Retry.Attempts && !p.Guards.Lacks(services.DeadLetter) {
			log.Error("give up on record", "attempts", attempts, "error", err)
			return p.deadLetter(ctx, receipt, err)
		}
		log.Warn("process record", "failures", failures, "error", err)
		if err := p.Retry.pause(ctx, failures); err != nil {
			return err
		}
	}
}

// attempt runs one transaction and takes a duplicate for success.
func (p *Processor) attempt(ctx context.Context, work func(context.Context) error) error {
	hard, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })
	defer stop()
	err := work(hard)
	if errors.Is(err, errDuplicate) {
		return nil
	}
	return err
}

// deadLetter moves the record to the dead-letter topic in one transaction with its outcome, until that succeeds.
func (p *Processor) deadLetter(ctx context.Context, receipt *Receipt, cause error) error {
	message := deadLetterOf(receipt.record, p.Group, cause)
	for failures := 1; ; failures++ {
		err := p.attempt(ctx, func(ctx context.Context) error {
			return p.DB.Transact(ctx, func(ctx context.Context, tx *db.Tx) error {
				batch := tx.Batch()
				receipt.Add(batch, DeadLettered)
				p.Publisher.Add(tx, batch, receipt.eventID, message)
				return tx.Send(ctx, batch)
			})
		})
		if err == nil {
			return nil
		}
		p.Log.Warn("dead-letter record", "event", receipt.eventID, "failures", failures, "error", err)
		if err := p.Retry.pause(ctx, failures); err != nil {
			return err
		}
	}
}

// deadLetterOf returns the dead letter of record: the same partition, key, value and headers, and why it is there.
func deadLetterOf(record broker.Record, group string, cause error) broker.Message {
	headers := append(record.Headers[:len(record.Headers):len(record.Headers)],
		broker.Header{Key: "dlt-original-topic", Value: []byte(record.Topic)},
		broker.Header{Key: "dlt-original-partition", Value: strconv.AppendInt(nil, int64(record.Partition), 10)},
		broker.Header{Key: "dlt-original-offset", Value: strconv.AppendInt(nil, record.Offset, 10)},
		broker.Header{Key: "dlt-consumer", Value: []byte(group)},
		broker.Header{Key: "dlt-error", Value: []byte(describe(cause))},
	)
	return broker.Message{
		Topic:     events.DeadLetterPrefix + record.Topic,
		Partition: &record.Partition,
		Key:       record.Key,
		Headers:   headers,
		Value:     record.Value,
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
