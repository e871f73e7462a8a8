// Package outbox owns how a transaction's messages reach Kafka: through the outbox table and its relay, or, with a
// guard removed, directly.
package outbox

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/broker"
	"github.com/ordeal-chaos/ordeal/services/internal/db"
	"github.com/ordeal-chaos/ordeal/services/internal/events"
	"github.com/ordeal-chaos/ordeal/services/internal/guard"
)

// Publisher announces what transactions did, in the way that the design's publishing part names.
type Publisher struct {
	Config
	// Undo ends an order whose placement could not be announced, in designs that compensate for that. It must be set
	// before the first transaction.
	Undo func(ctx context.Context, orderID string) error

	way  way
	wake chan struct{} // of relays
}

// Config describes a publisher. All fields are required.
type Config struct {
	Parts       services.Parts
	Guards      *guard.Set
	Producer    *broker.Producer
	Brokers     []string // for ways that need a client of their own
	Instance    string
	DatabaseURL string        // for relays, which keep a connection of their own
	Poll        time.Duration // between two looks of a relay
	Log         *slog.Logger
}

// way is how the messages of a transaction reach Kafka.
type way interface {
	// add adds a message to a transaction and to the batch that it is about to send.
	add(tx *db.Tx, batch *pgx.Batch, eventID string, m broker.Message)
	// run does what goes on beside the transactions, until ctx is done.
	run(ctx context.Context)
	// close ends what run used. It waits until ctx is done, at most.
	close(ctx context.Context)
}

// Open returns the publisher of a design. It does not connect.
func Open(ctx context.Context, cfg Config) (*Publisher, error) {
	p := &Publisher{Config: cfg, wake: make(chan struct{}, 1)}
	var err error
	switch publishing := p.publishing(); publishing {
	case services.OutboxPolling:
		p.way, err = openRelay(ctx, p)
	case services.InTransaction, services.AfterCommit, services.TimeoutCompensation,
		services.RollbackCompensation: // the order service compensates
		p.way, err = openDirect(p, publishing)
	case services.KafkaTransaction:
		p.way = openKafkaTransaction(p)
	default:
		err = fmt.Errorf("publishing %q is unknown", publishing)
	}
	return p, err
}

// publishing is the part, or what takes its place where its guard is removed.
func (p *Publisher) publishing() string {
	switch {
	case p.Guards.Removed(services.Outbox):
		return services.InTransaction
	case p.Guards.Removed(services.AfterCommitOutbox):
		return services.AfterCommit
	default:
		return p.Parts.Publishing
	}
}

// Run does what goes on beside the transactions, until ctx is done.
func (p *Publisher) Run(ctx context.Context) { p.way.run(ctx) }

// Close ends what the publisher opened; Run must have returned. It waits until ctx is done, at most.
func (p *Publisher) Close(ctx context.Context) { p.way.close(ctx) }

// Announce adds event e, for topic, to a transaction and to the batch that it is about to send.
func (p *Publisher) Announce(tx *db.Tx, batch *pgx.Batch, topic string, e events.Event) {
	p.Add(tx, batch, e.ID, message(topic, e))
}

// Send produces event e to topic and waits for the acknowledgement, in no transaction. After an error it is unknown
// whether the event is in the log, or will be.
func (p *Publisher) Send(ctx context.Context, topic string, e events.Event) error {
	return p.Producer.ProduceOne(ctx, message(topic, e))
}

func message(topic string, e events.Event) broker.Message {
	return broker.Message{
		Topic: topic,
		Key:   []byte(e.OrderID),
		Headers: []broker.Header{
			{Key: events.HeaderID, Value: []byte(e.ID)},
			{Key: events.HeaderType, Value: []byte(e.Type)},
		},
		Value: e.Encode(),
	}
}

// Add adds a message to a transaction and to the batch that it is about to send.
func (p *Publisher) Add(tx *db.Tx, batch *pgx.Batch, eventID string, m broker.Message) {
	p.way.add(tx, batch, eventID, m)
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
