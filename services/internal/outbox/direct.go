package outbox

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/broker"
	"github.com/ordeal-chaos/ordeal/services/internal/db"
	"github.com/ordeal-chaos/ordeal/services/internal/events"
)

const (
	// deliveryTimeout is how long an event that nothing can undo is tried, where somebody waits for the outcome.
	deliveryTimeout = 5 * time.Second
	// sendTimeout is how long it is tried where it can be undone. Its outcome is unknown after that.
	sendTimeout  = 800 * time.Millisecond
	resendPause  = 50 * time.Millisecond
	undoTimeout  = 2 * time.Second
	unsentOnStop = "stopped before it was acknowledged"
)

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
		return &timeoutCompensation{direct: d, stopped: make(chan struct{})}, nil
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

// timeoutCompensation produces after COMMIT and goes on; what follows depends on the outcome. A placement that was not
// acknowledged in time is undone, once. Everything else, cancellations among it, is said again until it is out: there
// is nothing that could undo it. None of this survives the process.
type timeoutCompensation struct {
	direct
	sending sync.WaitGroup
	once    sync.Once
	stopped chan struct{}
}

func (w *timeoutCompensation) add(tx *db.Tx, _ *pgx.Batch, eventID string, m broker.Message) {
	tx.AfterCommit(func(ctx context.Context) {
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		placed := placement(m)
		if placed != "" {
			ctx, cancel = context.WithTimeout(ctx, sendTimeout)
		}
		// Given to the producer before anything else can happen to the order: its events stay in order.
		outcome := w.producer.Produce(ctx, m)
		w.sending.Go(func() {
			defer cancel()
			err := w.await(ctx, m, outcome)
			if err == nil {
				return
			}
			w.publisher.Log.Error("publish after commit", "event", eventID, "error", err)
			if placed != "" {
				w.undo(placed)
			}
		})
	})
}

// placement returns the order whose placement m announces, or "".
func placement(m broker.Message) string {
	event, err := events.Decode(m.Value)
	if err != nil || m.Topic != events.OrderEvents || event.Type != events.OrderPlaced {
		return ""
	}
	return event.OrderID
}

// await waits for a message to be acknowledged. One that failed without having been sent is sent again, until ctx is done.
func (w *timeoutCompensation) await(ctx context.Context, m broker.Message, outcome <-chan error) error {
	for {
		select {
		case err := <-outcome:
			if err == nil {
				return nil
			}
		case <-ctx.Done():
			return fmt.Errorf("await acknowledgement from %s: %w", m.Topic, ctx.Err())
		case <-w.stopped:
			return fmt.Errorf("publish to %s: %s", m.Topic, unsentOnStop)
		}
		select {
		case <-time.After(resendPause):
		case <-ctx.Done():
		case <-w.stopped:
		}
		outcome = w.producer.Produce(ctx, m)
	}
}

// undo ends an order whose placement may or may not have been announced. It is tried once.
func (w *timeoutCompensation) undo(orderID string) {
	ctx, cancel := context.WithTimeout(context.Background(), undoTimeout)
	defer cancel()
	if err := w.publisher.Undo(ctx, orderID); err != nil {
		w.publisher.Log.Error("undo order", "order", orderID, "error", err)
	}
}

// close waits for what is being sent until ctx is done, and then gives up on it.
func (w *timeoutCompensation) close(ctx context.Context) {
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		w.sending.Wait()
	}()
	select {
	case <-sent:
	case <-ctx.Done():
	}
	w.once.Do(func() { close(w.stopped) })
	w.producer.Close(ctx)
	<-sent
}
