package payment

import (
	"context"
	"net/http"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/app"
	"github.com/ordeal-chaos/ordeal/services/internal/db"
	"github.com/ordeal-chaos/ordeal/services/internal/events"
)

// find locks the payment of an order. The id of one that is not there is empty.
func find(ctx context.Context, tx *db.Tx, orderID string) (p payment, err error) {
	batch := tx.Batch()
	queueFind(batch, orderID, true, &p)
	return p, tx.Send(ctx, batch)
}

// move takes a locked payment to another status, with what that leaves.
func (s *service) move(ctx context.Context, tx *db.Tx, p payment, status string, cause *string) (payment, error) {
	p.status, p.version = status, p.version+1
	event := announcement(p)
	batch := tx.Batch()
	// What was decided does not expire any more; a hold that ran out keeps the time.
	batch.Queue(`update payments set status = $2, version = $3, event_id = nullif($4, ''), updated_at = now(),
			expires_at = case when $5 then expires_at end where payment_id = $1`,
		p.id, p.status, p.version, event.ID, p.expires && p.due && status == Voided)
	s.note(tx, batch, p, event, cause)
	return p, tx.Send(ctx, batch)
}

// capture takes what was authorized for an order; moved is unset where that was done before. The error is a Problem
// where there is nothing to take.
func (s *service) capture(ctx context.Context, tx *db.Tx, orderID string, cause *string) (p payment, moved bool, err error) {
	p, err = find(ctx, tx, orderID)
	switch {
	case err != nil:
		return p, false, err
	case p.id == "":
		return p, false, app.Refuse(http.StatusNotFound, "order %s has no payment", orderID)
	case p.status == Captured:
		return p, false, nil
	case p.status == Voided && p.expires, p.status == Authorized && p.due && !s.asks():
		return p, false, app.Refuse(http.StatusGone, "payment of order %s expired", orderID)
	case p.status != Authorized:
		return p, false, app.Refuse(http.StatusConflict, "payment of order %s is %s", orderID, p.status)
	}
	p, err = s.move(ctx, tx, p, Captured, cause)
	return p, true, err
}

// cancel gives back what was taken for an order; moved is unset where there is nothing left to do. An order that has no
// payment yet gets a voided one, which its charge will find when it comes.
func (s *service) cancel(ctx context.Context, tx *db.Tx, orderID string, cause *string) (moved bool, err error) {
	p, err := find(ctx, tx, orderID)
	if err != nil {
		return false, err
	}
	if p.id == "" {
		if s.Guards.Lacks(services.RefundLate) {
			return false, nil // a charge that comes later finds nothing, and is kept
		}
		fenced := false
		batch := tx.Batch()
		batch.Queue(`insert into payments (payment_id, order_id, status, amount, version) values ($1, $2, $3, 0, 1)
			on conflict (order_id) do nothing`, events.NewID(), orderID, Voided).Exec(func(tag pgconn.CommandTag) error {
			fenced = tag.RowsAffected() > 0
			return nil
		})
		queueFind(batch, orderID, true, &p)
		if err := tx.Send(ctx, batch); err != nil || fenced {
			return fenced, err
		}
		// The charge came in between.
	}
	switch p.status {
	case Authorized:
		p.due = false // by request, and not by its age
		_, err = s.move(ctx, tx, p, Voided, cause)
	case Captured:
		_, err = s.move(ctx, tx, p, Refunded, cause)
	default:
		return false, nil
	}
	return true, err
}

// captureForClient is capture for a client, to whom it is well when it was done before.
func (s *service) captureForClient(ctx context.Context, orderID string) (p payment, err error) {
	err = s.Transact(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		p, _, err = s.capture(ctx, tx, orderID, nil)
		return err
	})
	return p, err
}

func (s *service) cancelForClient(ctx context.Context, orderID string) error {
	return s.Transact(ctx, func(ctx context.Context, tx *db.Tx) error {
		_, err := s.cancel(ctx, tx, orderID, nil)
		return err
	})
}

// look returns the payment of an order, or a Problem.
func (s *service) look(ctx context.Context, orderID string) (p payment, err error) {
	batch := &pgx.Batch{}
	queueFind(batch, orderID, false, &p)
	if err := s.DB.Read(ctx, batch); err != nil {
		return payment{}, err
	}
	if p.id == "" {
		return payment{}, app.Refuse(http.StatusNotFound, "order %s has no payment", orderID)
	}
	return p, nil
}
