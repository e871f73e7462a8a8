package order

import (
	"context"
	"errors"
	"fmt"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/app"
)

// Steps of try, confirm and cancel. The order is decided once, between the tries and the rest.
const (
	tccTry            = "try"             // stock reserves, and payment holds the amount
	tccConfirmStock   = "confirm-stock"   // stock sells
	tccConfirmPayment = "confirm-payment" // payment captures
	tccCancel         = "cancel"          // both give back, or refuse a Try that is still on its way
)

func (s *service) takeTCCStep(ctx context.Context, c *coordination) error {
	switch c.step {
	case tccTry:
		if c.status == Cancelled { // by its client, or for its age
			return s.move(ctx, c, s.afterTries(tccCancel), nil)
		}
		return s.try(ctx, c)
	case tccConfirmStock:
		return s.after(ctx, c, tccConfirmPayment, s.confirmStock(ctx, c.orderID))
	case tccConfirmPayment:
		return s.after(ctx, c, stepDone, s.confirmPayment(ctx, c.orderID))
	case tccCancel:
		return s.after(ctx, c, stepDone, errors.Join(s.cancelStock(ctx, c), s.cancelPayment(ctx, c.orderID)))
	default:
		return fmt.Errorf("order %s is at %q, which is no step of TCC", c.orderID, c.step)
	}
}

// afterTries is the step after the decision. Where that goes to the participants over Kafka, nothing is left to do.
func (s *service) afterTries(step string) string {
	if s.Config.Parts.Coordination == services.TCCKafka {
		return stepDone
	}
	return step
}

// try asks every participant, and decides the order: confirmed when all hold what it needs.
func (s *service) try(ctx context.Context, c *coordination) error {
	err := s.tryStock(ctx, c.orderID, c.lines)
	paid := err == nil
	if paid {
		err = s.pay(ctx, c, true)
	}
	var refused *app.Problem
	switch {
	case errors.As(err, &refused):
		// Who was asked gives back first, so that nothing is held while the decision waits for the database. After a crash
		// in between all are tried again, and refuse.
		if err := s.cancelTried(ctx, c, paid); err != nil {
			return err
		}
		return s.turnBack(ctx, c, stepDone, refused.Message)
	case err != nil:
		return err
	}
	err = s.move(ctx, c, s.afterTries(tccConfirmStock), &decision{orderID: c.orderID, status: Confirmed})
	if errors.Is(err, errDecided) { // cancelled meanwhile
		return s.move(ctx, c, s.afterTries(tccCancel), nil)
	}
	return err
}

// cancelTried cancels at the participants that were tried.
func (s *service) cancelTried(ctx context.Context, c *coordination, paid bool) error {
	err := s.cancelStock(ctx, c)
	if err == nil && paid {
		err = s.cancelPayment(ctx, c.orderID)
	}
	return err
}
