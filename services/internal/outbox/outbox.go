// Package outbox owns how a transaction's messages reach Kafka: through the outbox table and its relay, or, with a
// guard removed, directly.
package outbox

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/broker"
	"github.com/ordeal-chaos/ordeal/services/internal/db"
	"github.com/ordeal-chaos/ordeal/services/internal/events"
)

// Publisher announces what transactions did.
type Publisher struct {
	without  services.Without
	producer *broker.Producer
	log      *slog.Logger
	wake     chan struct{}
}

// NewPublisher returns a publisher for the design without the given guards.
func NewPublisher(without services.Without, producer *broker.Producer, log *slog.Logger) *Publisher {
	return &Publisher{without: without, producer: producer, log: log, wake: make(chan struct{}, 1)}
}

// Announce adds event e, for topic, to a transaction and to the batch that it is about to send.
func (p *Publisher) Announce(tx *db.Tx, batch *pgx.Batch, topic string, e events.Event) {
	p.Add(tx, batch, e.ID, broker.Message{
		Topic: topic,
		Key:   []byte(e.OrderID),
		Headers: []broker.Header{
			{Key: events.HeaderID, Value: []byte(e.ID)},
			{Key: events.HeaderType, Value: []byte(e.Type)},
		},
		Value: e.Encode(),
	})
}

// Add adds a message to a transaction and to the batch that it is about to send.
func (p *Publisher) Add(tx *db.Tx, batch *pgx.Batch, eventID string, m broker.Message) {
	switch {
	case p.without.Lacks(services.Outbox):
		tx.BeforeCommit(func(ctx context.Context) error {
			return p.producer.ProduceOne(ctx, m)
		})
	case p.without.Lacks(services.AfterCommitOutbox):
		tx.AfterCommit(func(ctx context.Context) {
			if err := p.producer.ProduceOne(ctx, m); err != nil {
				p.log.Error("publish after commit", "event", eventID, "error", err)
			}
		})
	default:
		insert(batch, eventID, m)
		tx.AfterCommit(func(context.Context) { p.wakeRelay() })
	}
}

func (p *Publisher) wakeRelay() {
	select {
	case p.wake <- struct{}{}:
	default: // awake already
	}
}

func insert(batch *pgx.Batch, eventID string, m broker.Message) {
	var key *string
	var rawKey []byte
	if m.Key != nil {
		if text := string(m.Key); storable(text) {
			key = &text
		} else {
			rawKey = m.Key
		}
	}
	batch.Queue(`insert into outbox (event_id, topic, partition, key, raw_key, headers, payload) values ($1, $2, $3, $4, $5, $6, $7)`,
		eventID, m.Topic, m.Partition, key, rawKey, encodeHeaders(m.Headers), m.Value)
}

// storable reports whether Postgres can hold s as text.
func storable(s string) bool { return utf8.ValidString(s) && !strings.Contains(s, "\x00") }

// row is an outbox row that was not published yet.
type row struct {
	id      int64
	message broker.Message
}

func scan(rows pgx.Rows) (row, error) {
	var (
		r       row
		key     *string
		headers []byte
	)
	m := &r.message
	if err := rows.Scan(&r.id, &m.Topic, &m.Partition, &key, &m.Key, &headers, &m.Value); err != nil {
		return row{}, fmt.Errorf("read outbox: %w", err)
	}
	if key != nil {
		m.Key = []byte(*key)
	}
	var err error
	if m.Headers, err = decodeHeaders(headers); err != nil {
		return row{}, fmt.Errorf("read outbox row %d: %w", r.id, err)
	}
	return r, nil
}
