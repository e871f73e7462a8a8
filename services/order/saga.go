package order

import (
	"context"
	"errors"
	"fmt"

	"github.com/ordeal-chaos/ordeal/services/internal/app"
)

// Steps of a saga. Forward it goes from the first to sagaSell; back, from where it turned, to the end.
const (
	sagaReserve = "reserve" // stock takes the lines
	sagaCharge  = "charge"  // payment charges the amount
	sagaConfirm = "confirm" // the order is confirmed: from here there is no way back
	sagaSell    = "sell"    // stock sells what it took
	sagaRefund  = "refund"  // back: payment refunds, or refuses a charge that is still on its way
	sagaRelease = "release" // back: stock gives back, or refuses a reservation that is still on its way
)

func (s *service) takeSagaStep(ctx context.Context, c *coordination) error {
	if c.status == Cancelled && (c.step == sagaReserve || c.step == sagaCharge) {
		return s.move(ctx, c, sagaRefund, nil) // by its client, or for its age
	}
	switch c.step {
	case sagaReserve:
		return s.forward(ctx, c, sagaCharge, s.tryStock(ctx, c.orderID, c.lines))
	case sagaCharge:
		return s.forward(ctx, c, sagaConfirm, s.pay(ctx, c, false))
	case sagaConfirm:
		err := s.move(ctx, c, sagaSell, &decision{orderID: c.orderID, status: Confirmed})
		if errors.Is(err, errDecided) { // cancelled meanwhile
			return s.move(ctx, c, sagaRefund, nil)
		}
		return err
	case sagaSell:
		return s.after(ctx, c, stepDone, s.confirmStock(ctx, c.orderID))
	case sagaRefund:
		return s.after(ctx, c, sagaRelease, s.cancelPayment(ctx, c.orderID))
	case sagaRelease:
		return s.after(ctx, c, stepDone, s.cancelStock(ctx, c))
	default:
		return fmt.Errorf("order %s is at %q, which is no step of a saga", c.orderID, c.step)
	}
}

// forward goes on to next after a step that ended with err, or turns back when the participant refused.
func (s *service) forward(ctx context.Context, c *coordination, next string, err error) error {
	var refused *app.Problem
	switch {
	case err == nil:
		return s.move(ctx, c, next, nil)
	case errors.As(err, &refused):
		// What was refused is compensated too: an earlier attempt may still be on its way.
		return s.turnBack(ctx, c, sagaRefund, refused.Message)
	default:
		return err
	}
}
