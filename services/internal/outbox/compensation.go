package outbox

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordeal-chaos/ordeal/services/internal/broker"
	"github.com/ordeal-chaos/ordeal/services/internal/db"
	"github.com/ordeal-chaos/ordeal/services/internal/events"
)

const (
	// sendTimeout is how long a placement is tried before it is undone. Its outcome is unknown then.
	sendTimeout = 800 * time.Millisecond
	resendPause = 50 * time.Millisecond
	undoTimeout = 2 * time.Second
)

// timeoutCompensation produces after COMMIT and goes on; what follows depends on the outcome. A placement that was not
// acknowledged in time is undone, once. Everything else, cancellations among it, is said again until it is out: there
// is nothing that could undo it. None of this survives the process.
type timeoutCompensation struct {
	direct
	sending sync.WaitGroup
	undo    func(orderID string)
	stop    context.CancelFunc
	stopped <-chan struct{}
}

func openTimeoutCompensation(d direct) *timeoutCompensation {
	life, stop := context.WithCancel(context.Background())
	return &timeoutCompensation{direct: d, stop: stop, stopped: life.Done(), undo: func(orderID string) {
		ctx, cancel := context.WithTimeout(life, undoTimeout)
		defer cancel()
		if err := d.publisher.Undo(ctx, orderID); err != nil {
			d.publisher.Log.Error("undo order", "order", orderID, "error", err)
		}
	}}
}

func (w *timeoutCompensation) add(tx *db.Tx, _ *pgx.Batch, eventID string, m broker.Message) {
	tx.AfterCommit(func(ctx context.Context) {
		ctx, cancel := context.WithoutCancel(ctx), func() {}
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
			return fmt.Errorf("publish to %s: stopped before it was acknowledged", m.Topic)
		}
		select {
		case <-time.After(resendPause):
		case <-ctx.Done():
		case <-w.stopped:
		}
		outcome = w.producer.Produce(ctx, m)
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
	w.stop()
	w.producer.Close(ctx)
	<-sent
}
