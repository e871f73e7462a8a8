package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/broker"
	"github.com/ordeal-chaos/ordeal/services/internal/db"
)

// deliveryTimeout is how long an event is tried where nothing can undo what it announces.
const deliveryTimeout = 5 * time.Second

// openDirect returns a way that produces without an outbox, by an idempotent producer of its own.
func openDirect(p *Publisher, publishing string) (way, error) {
	cfg := broker.SequencedConfig{Brokers: p.Brokers, ClientID: p.Instance}
	if p.Guards.Removed(services.IdempotentProducer) {
		cfg.Unnumbered = true
		cfg.OnLostAnswer = func() { p.Guards.Lacks(services.IdempotentProducer) }
	}
	producer, err := broker.NewSequenced(cfg)
	if err != nil {
		return nil, err
	}
	d := direct{publisher: p, producer: producer}
	switch publishing {
	case services.InTransaction:
		return inTransaction{d}, nil
	case services.TimeoutCompensation:
		return openTimeoutCompensation(d), nil
	default:
		return afterCommit{d}, nil
	}
}

// direct is what ways without an outbox have in common.
type direct struct {
	publisher *Publisher
	producer  *broker.Sequenced
}

func (direct) run(context.Context)         {}
func (d direct) close(ctx context.Context) { d.producer.Close(ctx) }

// send produces a message and awaits the outcome for as long as delivery may take. After an error it is unknown whether
// the message is in the log, or will be.
func (d direct) send(ctx context.Context, m broker.Message) error {
	ctx, cancel := context.WithTimeout(ctx, deliveryTimeout)
	defer cancel()
	select {
	case err := <-d.producer.Produce(ctx, m):
		return err
	case <-ctx.Done():
		return fmt.Errorf("await acknowledgement from %s: %w", m.Topic, ctx.Err())
	}
}

// inTransaction produces before COMMIT is sent. A failure rolls back; a rollback for another reason leaves the event.
type inTransaction struct{ direct }

func (w inTransaction) add(tx *db.Tx, _ *pgx.Batch, _ string, m broker.Message) {
	tx.BeforeCommit(func(ctx context.Context) error {
		w.publisher.Guards.Lacks(services.Outbox)
		return w.send(ctx, m)
	})
}

// afterCommit produces once COMMIT was answered, and only logs a failure.
type afterCommit struct{ direct }

func (w afterCommit) add(tx *db.Tx, _ *pgx.Batch, eventID string, m broker.Message) {
	tx.AfterCommit(func(ctx context.Context) {
		w.publisher.Guards.Lacks(services.AfterCommitOutbox)
		if err := w.send(ctx, m); err != nil {
			w.publisher.Log.Error("publish after commit", "event", eventID, "error", err)
		}
	})
}
