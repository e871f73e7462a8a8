package stock

import (
	"context"

	"github.com/ordeal-chaos/ordeal/services/internal/app"
	"github.com/ordeal-chaos/ordeal/services/internal/db"
	"github.com/ordeal-chaos/ordeal/services/internal/events"
	"github.com/ordeal-chaos/ordeal/services/internal/inbox"
)

// answerTaken answers an order whose stock was taken over REST before it was placed. When that was given back meanwhile,
// the order is rejected.
func (s *service) answerTaken(ctx context.Context, receipt *inbox.Receipt, e events.Event) error {
	return s.DB.Transact(ctx, func(ctx context.Context, tx *db.Tx) error {
		var found []held
		batch := tx.Batch()
		lock(batch, byOrder, e.OrderID, &found)
		if err := tx.Send(ctx, batch); err != nil {
			return err
		}
		for _, h := range found {
			if h.status != Reserved {
				continue
			}
			answer := events.Event{ID: events.NewID(), Type: events.StockReserved, OrderID: e.OrderID, Version: 1, Lines: e.Lines}
			batch = tx.Batch()
			receipt.Add(batch, inbox.Applied)
			batch.Queue(`update reservations set event_id = $2, updated_at = now() where reservation_id = $1`, h.id, answer.ID)
			s.Publisher.Announce(tx, batch, events.StockEvents, answer)
			return tx.Send(ctx, batch)
		}
		return s.answer(ctx, tx, tx.Batch(), receipt, e, events.Event{Type: events.StockRejected, Reason: "the stock was given back"})
	})
}

// giveBack returns the stock of an order that was rolled back. It believes what it is told, as its event carries all that
// is to be done and has taken effect once at most: it does not look whether the order still holds that stock.
func (s *service) giveBack(ctx context.Context, receipt *inbox.Receipt, e events.Event) error {
	return s.DB.Transact(ctx, func(ctx context.Context, tx *db.Tx) error {
		var found []held
		batch := tx.Batch()
		lock(batch, byOrder, e.OrderID, &found)
		if err := tx.Send(ctx, batch); err != nil {
			return err
		}
		r := reservation{orderID: &e.OrderID, lines: e.Lines, cause: &e.ID}
		batch = tx.Batch()
		receipt.Add(batch, inbox.Applied)
		for _, h := range found {
			r.id = h.id
			batch.Queue(`update reservations set status = $2, updated_at = now() where reservation_id = $1`, h.id, Released)
		}
		if err := s.stocks.settle(ctx, tx, batch, move{release, app.ByProduct(e.Lines)}); err != nil {
			return err
		}
		queueLedger(batch, opRelease, r)
		return tx.Send(ctx, batch)
	})
}
