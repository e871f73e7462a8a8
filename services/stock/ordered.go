package stock

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/db"
	"github.com/ordeal-chaos/ordeal/services/internal/events"
	"github.com/ordeal-chaos/ordeal/services/internal/inbox"
)

// ordered does what an event of an order asks for.
func (s *service) ordered(ctx context.Context, receipt *inbox.Receipt, e events.Event) error {
	switch e.Type {
	case events.StockRollback:
		return s.giveBack(ctx, receipt, e)
	case events.OrderPlaced:
		if s.Config.Parts.Coordination == services.TCCKafka {
			return s.ignore(ctx, receipt) // it is tried over REST
		}
		if s.Config.Parts.Coordination == services.StockFirst {
			return s.answerTaken(ctx, receipt, e)
		}
		err := s.reserve(ctx, receipt, e)
		var short *shortage
		if errors.As(err, &short) {
			// Everything was rolled back, so the rejection is a transaction of its own.
			return s.reject(ctx, receipt, e, short)
		}
		return err
	case events.OrderConfirmed:
		return s.settle(ctx, receipt, e, sell)
	case events.OrderCancelled:
		return s.settle(ctx, receipt, e, release)
	default:
		return fmt.Errorf("%w: %s is of no order", events.ErrInvalid, e.Type)
	}
}

func (s *service) ignore(ctx context.Context, receipt *inbox.Receipt) error {
	return s.DB.Transact(ctx, func(ctx context.Context, tx *db.Tx) error {
		batch := tx.Batch()
		receipt.Add(batch, inbox.Ignored)
		return tx.Send(ctx, batch)
	})
}

// reserve reserves all lines of an order, or fails with a shortage.
func (s *service) reserve(ctx context.Context, receipt *inbox.Receipt, e events.Event) error {
	return s.DB.Transact(ctx, func(ctx context.Context, tx *db.Tx) error {
		batch := tx.Batch()
		s.stocks.enter(ctx, tx, batch)
		if err := s.take(ctx, tx, batch, e.Lines); err != nil {
			return err
		}
		return s.answer(ctx, tx, tx.Batch(), receipt, e, events.Event{Type: events.StockReserved})
	})
}

func (s *service) reject(ctx context.Context, receipt *inbox.Receipt, e events.Event, short *shortage) error {
	return s.DB.Transact(ctx, func(ctx context.Context, tx *db.Tx) error {
		batch := tx.Batch()
		s.stocks.enter(ctx, tx, batch)
		return s.answer(ctx, tx, batch, receipt, e, events.Event{Type: events.StockRejected, Reason: short.Error()})
	})
}

// answer writes what reserving came to and announces it, in the batch.
func (s *service) answer(ctx context.Context, tx *db.Tx, batch *pgx.Batch, receipt *inbox.Receipt, e, answer events.Event) error {
	answer.ID, answer.OrderID, answer.Version, answer.Lines, answer.PaymentAmt = events.NewID(), e.OrderID, 1, e.Lines, e.PaymentAmt
	r := reservation{id: events.NewID(), orderID: &e.OrderID, status: Rejected, announce: &answer.ID, cause: &e.ID, lines: e.Lines}
	receipt.Add(batch, inbox.Applied)
	if answer.Type == events.StockReserved {
		r.status = Reserved
		queueLedger(batch, opReserve, r)
	}
	queueReservation(batch, r, new(*time.Time)) // an order's never expires
	s.Publisher.Announce(tx, batch, events.StockEvents, answer)
	return tx.Send(ctx, batch)
}

// settle ends the reservation of a decided order.
func (s *service) settle(ctx context.Context, receipt *inbox.Receipt, e events.Event, how settlement) error {
	return s.DB.Transact(ctx, func(ctx context.Context, tx *db.Tx) error {
		var found []held
		tcc := s.Config.Parts.Coordination == services.TCCKafka
		if tcc {
			if err := lockOrder(ctx, tx, e.OrderID); err != nil {
				return err
			}
		}
		batch := tx.Batch()
		s.stocks.enter(ctx, tx, batch)
		if tcc && how.status == Released {
			queueFence(batch, e.OrderID)
		}
		lock(batch, byOrder, e.OrderID, &found)
		if err := tx.Send(ctx, batch); err != nil {
			return err
		}
		batch = tx.Batch()
		outcome, already := inbox.Ignored, false
		for _, h := range found {
			already = already || h.status == how.status
			if h.status == Reserved {
				h.cause = &e.ID
				if err := s.end(ctx, tx, batch, h.reservation, how); err != nil {
					return err
				}
				outcome = inbox.Applied
			}
		}
		// Nothing to release is the usual end of a rejected order. Nothing to sell is a lost deduction: it must be seen.
		if outcome == inbox.Ignored && how.status == Confirmed && !already {
			return fmt.Errorf("%w: order %s is confirmed and nothing is reserved for it", inbox.ErrStale, e.OrderID)
		}
		receipt.Add(batch, outcome)
		return tx.Send(ctx, batch)
	})
}
