package order

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/app"
	"github.com/ordeal-chaos/ordeal/services/internal/db"
	"github.com/ordeal-chaos/ordeal/services/internal/events"
	"github.com/ordeal-chaos/ordeal/services/internal/inbox"
)

// decision ends an order.
type decision struct {
	orderID string
	status  string // Confirmed or Cancelled
	reason  string // of a cancellation
	receipt *inbox.Receipt
	silent  bool // nobody is told
}

// errDecided rolls back a decision, without receipt, on an order that is not PENDING.
var errDecided = errors.New("order is decided")

const (
	// decide is a compare-and-set: whoever comes second changes nothing.
	decideSQL = `update orders set status = $2, version = version + 1, event_id = $3, updated_at = now()
		where order_id = $1 and status = 'PENDING' returning version, payment_amt`
	decideUncheckedSQL = `update orders set status = $2, version = version + 1, event_id = $3, updated_at = now()
		where order_id = $1 returning version, payment_amt`
)

// decide moves a PENDING order to the status decided, and announces it. On any other order nothing moves; the
// receipt, if there is one, then says that the event was ignored.
func (s *service) decide(ctx context.Context, tx *db.Tx, d decision) error {
	event := events.Event{ID: events.NewID(), Type: events.OrderConfirmed, OrderID: d.orderID, Reason: d.reason}
	if d.status == Cancelled {
		event.Type = events.OrderCancelled
	}
	update := decideSQL
	if s.Guards.Lacks(services.CASTransition) {
		update = decideUncheckedSQL
	}
	moved := false
	batch := tx.Batch()
	batch.Queue(update, d.orderID, d.status, event.ID).Query(func(rows pgx.Rows) error {
		if moved = rows.Next(); moved {
			return rows.Scan(&event.Version, &event.PaymentAmt)
		}
		return nil
	})
	queueLines(batch, d.orderID, &event.Lines)
	if err := tx.Send(ctx, batch); err != nil {
		return err
	}
	if !moved && d.receipt == nil {
		return errDecided
	}
	batch = tx.Batch()
	outcome := inbox.Ignored
	if moved {
		outcome = inbox.Applied
		if !d.silent {
			s.Publisher.Announce(tx, batch, events.OrderEvents, event)
		}
	}
	if d.receipt != nil {
		d.receipt.Add(batch, outcome)
	}
	return tx.Send(ctx, batch)
}

// answered decides an order on the answer of the stock service, or, where it is paid for, on that of the payment
// service too. An answer to an order that was cancelled meanwhile is ignored: the cancellation releases what was
// reserved, and refunds what was captured.
func (s *service) answered(ctx context.Context, receipt *inbox.Receipt, e events.Event) error {
	d := decision{orderID: e.OrderID, receipt: receipt}
	switch e.Type {
	case events.StockReserved:
		if s.Config.Parts.Payment == services.Payment {
			return s.ignore(ctx, receipt) // it is to be paid for first
		}
		d.status = Confirmed
	case events.PaymentCaptured:
		d.status = Confirmed
	case events.StockRejected, events.PaymentDeclined:
		d.status, d.reason = Cancelled, e.Reason
	case events.PaymentRefunded:
		return s.ignore(ctx, receipt)
	default:
		return fmt.Errorf("%w: %s is no answer", events.ErrInvalid, e.Type)
	}
	return s.DB.Transact(ctx, func(ctx context.Context, tx *db.Tx) error { return s.decide(ctx, tx, d) })
}

// ignore notes that an event was handled, and that there was nothing to do.
func (s *service) ignore(ctx context.Context, receipt *inbox.Receipt) error {
	return s.DB.Transact(ctx, func(ctx context.Context, tx *db.Tx) error {
		batch := tx.Batch()
		receipt.Add(batch, inbox.Ignored)
		return tx.Send(ctx, batch)
	})
}

// cancel cancels an order for a client and returns it. A confirmed one is a Problem.
func (s *service) cancel(ctx context.Context, orderID string) (view, error) {
	order, err := s.find(ctx, orderID)
	if err != nil {
		return view{}, err
	}
	if order.Status == Pending {
		d := decision{orderID: orderID, status: Cancelled, reason: "cancelled by client"}
		err = s.Transact(ctx, func(ctx context.Context, tx *db.Tx) error { return s.decide(ctx, tx, d) })
		if err != nil && !errors.Is(err, errDecided) {
			return view{}, err
		}
		if order, err = s.find(ctx, orderID); err != nil {
			return view{}, err
		}
	}
	if order.Status == Confirmed {
		return view{}, app.Refuse(http.StatusConflict, "order %s is confirmed", orderID)
	}
	return order, nil
}

const sweepLimit = 100

func (s *service) loops() []app.Loop {
	return []app.Loop{{Name: "sweep orders", Every: s.Config.SweepInterval, Do: s.sweep}}
}

// sweep cancels orders that have been PENDING for too long. What it read may be stale when it decides: the
// compare-and-set makes that, and other sweepers, harmless.
func (s *service) sweep(ctx context.Context) error {
	var expired []string
	batch := &pgx.Batch{}
	batch.Queue(`select order_id from orders where status = 'PENDING' and created_at < now() - $1::bigint * interval '1 microsecond'
		order by created_at limit $2`, s.Config.OrderTTL/time.Microsecond, sweepLimit).Query(func(rows pgx.Rows) (err error) {
		expired, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	if err := s.DB.Read(ctx, batch); err != nil {
		return err
	}
	if len(expired) > 0 && s.Guards.Lacks(services.Sweeper) {
		return nil
	}
	var errs []error
	for _, orderID := range expired {
		d := decision{orderID: orderID, status: Cancelled, reason: "expired"}
		err := s.DB.Transact(ctx, func(ctx context.Context, tx *db.Tx) error { return s.decide(ctx, tx, d) })
		switch {
		case err == nil:
			s.Log.Info("order expired", "order", orderID)
		case !errors.Is(err, errDecided):
			errs = append(errs, fmt.Errorf("cancel order %s: %w", orderID, err))
		}
	}
	return errors.Join(errs...)
}
