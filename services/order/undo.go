package order

import (
	"context"
	"errors"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/db"
)

// undo cancels an order whose placement was not acknowledged in time. It may have arrived all the same, and the answer
// to it with it: an order that was decided meanwhile stays as it is, and a cancellation is announced, for whoever
// reserved something.
func (s *service) undo(ctx context.Context, orderID string) error {
	d := decision{
		orderID: orderID, status: Cancelled, reason: "not announced in time",
		silent: s.Guards.Lacks(services.AnnounceCompensation),
	}
	err := s.DB.Transact(ctx, func(ctx context.Context, tx *db.Tx) error { return s.decide(ctx, tx, d) })
	if errors.Is(err, errDecided) {
		return nil
	}
	if err == nil {
		s.Log.Info("order undone", "order", orderID)
	}
	return err
}
