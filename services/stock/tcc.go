package stock

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/app"
	"github.com/ordeal-chaos/ordeal/services/internal/db"
	"github.com/ordeal-chaos/ordeal/services/internal/events"
)

// try is a valid request for a reservation. The exported fields are what the client asked for.
type try struct {
	OrderID *string // nil: no order owns the reservation, and it expires
	Lines   []events.Line
	key     *string // idempotency key
}

// errKeyUsed rolls back a try whose idempotency key has a reservation.
var errKeyUsed = errors.New("idempotency key was used before")

// errNothingToDo rolls back the settlement of a reservation that is settled as asked.
var errNothingToDo = errors.New("nothing to do")

// try reserves stock for a client. One whose key has a reservation of the same request returns that, with replayed set.
func (s *service) try(ctx context.Context, t try) (made view, replayed bool, err error) {
	fingerprint := app.Fingerprint(t)
	r := reservation{id: events.NewID(), orderID: t.OrderID, status: Reserved, lines: t.Lines}
	if t.OrderID == nil {
		r.ttl = s.Config.ReservationTTL
	}
	var expires *time.Time
	err = s.Transact(ctx, func(ctx context.Context, tx *db.Tx) error {
		batch := tx.Batch()
		if t.key != nil && !s.Guards.Lacks(services.IdempotencyKey) {
			batch.Queue(`insert into idempotency_keys (idempotency_key, reservation_id, fingerprint) values ($1, $2, $3)
				on conflict do nothing`, *t.key, r.id, fingerprint).Exec(func(tag pgconn.CommandTag) error {
				if tag.RowsAffected() == 0 {
					return errKeyUsed
				}
				return nil
			})
		}
		if err := s.take(ctx, tx, batch, t.Lines); err != nil {
			return err
		}
		batch = tx.Batch()
		queueLedger(batch, opReserve, r)
		queueReservation(batch, r, &expires)
		return tx.Send(ctx, batch)
	})
	var short *shortage
	switch {
	case errors.As(err, &short):
		return view{}, false, app.Refuse(http.StatusConflict, "%v", short)
	case errors.Is(err, errKeyUsed):
		made, err = s.replay(ctx, *t.key, fingerprint)
		return made, true, err
	}
	return view{ReservationID: r.id, OrderID: r.orderID, Status: r.status, ExpiresAt: expires}, false, err
}

// replay returns the reservation that was made with key.
func (s *service) replay(ctx context.Context, key, fingerprint string) (view, error) {
	var made view
	var first string
	batch := &pgx.Batch{}
	batch.Queue(`select k.fingerprint, r.reservation_id, r.order_id, r.status, r.expires_at
		from idempotency_keys k join reservations r using (reservation_id) where k.idempotency_key = $1`, key).
		QueryRow(func(row pgx.Row) error {
			return row.Scan(&first, &made.ReservationID, &made.OrderID, &made.Status, &made.ExpiresAt)
		})
	if err := s.DB.Read(ctx, batch); err != nil {
		return view{}, err
	}
	if first != fingerprint {
		return view{}, app.Refuse(http.StatusUnprocessableEntity, "Idempotency-Key %s was used for another request", key)
	}
	return made, nil
}

// settleByClient confirms or cancels a reservation. Doing it again is well; a settlement the other way is a Problem.
func (s *service) settleByClient(ctx context.Context, id string, how settlement) (view, error) {
	settled := view{ReservationID: id, Status: how.status}
	err := s.Transact(ctx, func(ctx context.Context, tx *db.Tx) error {
		var found []held
		batch := tx.Batch()
		lock(batch, byID, id, &found)
		if err := tx.Send(ctx, batch); err != nil {
			return err
		}
		if len(found) == 0 {
			return app.Refuse(http.StatusNotFound, "no reservation %s", id)
		}
		settled.OrderID = found[0].orderID
		if err := s.permit(found[0], how); err != nil {
			return err
		}
		batch = tx.Batch()
		if err := s.end(ctx, tx, batch, found[0].reservation, how); err != nil {
			return err
		}
		return tx.Send(ctx, batch)
	})
	if err != nil && !errors.Is(err, errNothingToDo) {
		return view{}, err
	}
	return settled, nil
}

// permit returns nil when a reservation can be settled so, errNothingToDo when it is, and else a Problem.
func (s *service) permit(h held, how settlement) error {
	confirm := how.status == Confirmed
	switch {
	case confirm && h.status == Confirmed && s.Guards.Lacks(services.ConfirmIdempotent):
		return app.Refuse(http.StatusNotFound, "no reservation %s is open", h.id)
	case !confirm && h.status == Confirmed && s.Guards.Lacks(services.SettleOnce):
		return nil
	case h.status == how.status:
		return errNothingToDo
	case confirm && (h.status == Expired || h.status == Reserved && h.due):
		return app.Refuse(http.StatusGone, "reservation %s expired", h.id)
	case h.status == Reserved:
		return nil
	case !confirm && h.status != Confirmed:
		return errNothingToDo // it holds nothing
	default:
		return app.Refuse(http.StatusConflict, "reservation %s is %s", h.id, h.status)
	}
}
