package payment

import (
	"context"
	"errors"
	"fmt"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/app"
	"github.com/ordeal-chaos/ordeal/services/internal/db"
	"github.com/ordeal-chaos/ordeal/services/internal/events"
	"github.com/ordeal-chaos/ordeal/services/internal/inbox"
)

// heard does what an event asks for: stock that was reserved is to be paid for, a cancelled order is not. Where the
// order was only authorized before, its confirmation captures that.
func (s *service) heard(ctx context.Context, receipt *inbox.Receipt, e events.Event) error {
	return s.DB.Transact(ctx, func(ctx context.Context, tx *db.Tx) error {
		moved, err := s.effect(ctx, tx, e)
		if err != nil {
			return err
		}
		outcome := inbox.Ignored
		if moved {
			outcome = inbox.Applied
		}
		batch := tx.Batch()
		receipt.Add(batch, outcome)
		return tx.Send(ctx, batch)
	})
}

// effect is what an event moves; moved is unset where that is nothing.
func (s *service) effect(ctx context.Context, tx *db.Tx, e events.Event) (moved bool, err error) {
	switch e.Type {
	case events.StockReserved:
		if e.PaymentAmt == nil {
			return false, fmt.Errorf("%w: it does not say what to charge", events.ErrInvalid)
		}
		_, moved, err = s.charge(ctx, tx, tx.Batch(), charge{OrderID: e.OrderID, Amount: *e.PaymentAmt, cause: &e.ID})
		return moved, err
	case events.OrderCancelled:
		return s.cancel(ctx, tx, e.OrderID, &e.ID)
	case events.OrderConfirmed:
		if s.Config.Parts.Coordination == services.Choreography {
			return false, nil // it was confirmed because it was paid
		}
		_, moved, err = s.capture(ctx, tx, e.OrderID, &e.ID)
		var problem *app.Problem
		if errors.As(err, &problem) {
			err = fmt.Errorf("%w: %w", inbox.ErrStale, err) // an order without its money: it must be seen
		}
		return moved, err
	case events.OrderPlaced, events.StockRejected:
		return false, nil
	default:
		return false, fmt.Errorf("%w: %s is not for payment", events.ErrInvalid, e.Type)
	}
}
