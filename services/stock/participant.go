package stock

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/app"
	"github.com/ordeal-chaos/ordeal/services/internal/db"
	"github.com/ordeal-chaos/ordeal/services/internal/events"
	"github.com/ordeal-chaos/ordeal/services/internal/fate"
)

// As a participant, stock is asked by the coordinator of an order to reserve (Try), and then to sell (Confirm) or to
// release (Cancel). Each may come again, late, or not at all, and a Cancel may come before its Try. The names of what
// must be provided for are those of dtm and Seata: idempotence, empty rollback, suspension.

// States of a fence.
const (
	fenceTried     = "TRIED"
	fenceCancelled = "CANCELLED"
)

// tried is what an earlier Try of the same order came to.
type tried struct {
	fence  string
	status string // of its reservation, if there is one
}

// suspended says that a Try which comes now comes after the Cancel.
func (t tried) suspended() bool {
	return t.fence == fenceCancelled && t.status != Reserved && t.status != Confirmed
}

// errTried rolls back a Try that was made before.
var errTried = errors.New("order was tried before")

// tryOrder reserves lines for an order, once. It is refused when there is not enough, and when the order was cancelled
// before. again says that it was reserved already.
func (s *service) tryOrder(ctx context.Context, orderID string, lines []events.Line) (again bool, err error) {
	ctx = context.WithoutCancel(ctx) // the coordinator may be gone: it will ask again
	err = s.reserveOnce(ctx, orderID, lines, errTried)
	if errors.Is(err, errTried) {
		before, err := s.triedBefore(ctx, orderID)
		if err != nil {
			return false, err
		}
		if !before.suspended() || !s.Guards.Lacks(services.SuspensionFence) {
			return true, s.answerAgain(orderID, before)
		}
		return false, s.reserveOnce(ctx, orderID, lines, nil)
	}
	return false, err
}

// reserveOnce reserves lines for an order. Where a Try or a Cancel of it came before, the error is fenced; nil goes on all
// the same.
func (s *service) reserveOnce(ctx context.Context, orderID string, lines []events.Line, fenced error) error {
	r := reservation{id: events.NewID(), orderID: &orderID, status: Reserved, lines: lines}
	if s.Config.Parts.Coordination != services.Saga {
		r.ttl = s.Config.ReservationTTL // a saga always comes back
	}
	err := s.Transact(ctx, func(ctx context.Context, tx *db.Tx) error {
		if err := lockOrder(ctx, tx, orderID); err != nil {
			return err
		}
		batch := tx.Batch()
		batch.Queue(`insert into fences (order_id, state) values ($1, $2) on conflict do nothing`, orderID, fenceTried).
			Exec(func(tag pgconn.CommandTag) error {
				if tag.RowsAffected() == 0 {
					return fenced
				}
				return nil
			})
		if s.Guards.Lacks(services.TryReserves) {
			return s.look(ctx, tx, batch, r)
		}
		if err := s.take(ctx, tx, batch, lines); err != nil {
			return err
		}
		batch = tx.Batch()
		queueLedger(batch, opReserve, r)
		queueReservation(batch, r, new(*time.Time))
		return tx.Send(ctx, batch)
	})
	var short *shortage
	if errors.As(err, &short) {
		return app.Refuse(http.StatusConflict, "%v", short)
	}
	return err
}

// triedBefore returns what was made of an order before.
func (s *service) triedBefore(ctx context.Context, orderID string) (before tried, err error) {
	batch := &pgx.Batch{}
	batch.Queue(`select f.state, coalesce(r.status, '') from fences f left join reservations r using (order_id) where f.order_id = $1`, orderID).
		QueryRow(func(row pgx.Row) error { return row.Scan(&before.fence, &before.status) })
	return before, s.DB.Read(ctx, batch)
}

// answerAgain answers a Try that is not the first.
func (s *service) answerAgain(orderID string, before tried) error {
	switch {
	case before.fence == fenceCancelled && s.Guards.Lacks(services.FencedTryFails):
		return nil
	case before.fence == fenceCancelled:
		return app.Refuse(http.StatusConflict, "order %s was cancelled before", orderID)
	case before.status != Reserved && before.status != Confirmed:
		return app.Refuse(http.StatusConflict, "the reservation of order %s is %s", orderID, before.status)
	}
	return nil
}

// look makes a reservation that takes nothing, where there is enough just now.
func (s *service) look(ctx context.Context, tx *db.Tx, batch *pgx.Batch, r reservation) error {
	for _, line := range app.ByProduct(r.lines) {
		batch.Queue(`select 1 from stock where product_id = $1 and available >= $2`, line.ProductID, line.Qty).
			Exec(func(tag pgconn.CommandTag) error {
				if tag.RowsAffected() == 0 {
					return &shortage{line}
				}
				return nil
			})
	}
	queueReservation(batch, r, new(*time.Time))
	return tx.Send(ctx, batch)
}

// sellUntakenSQL sells what a Try only looked at.
const sellUntakenSQL = `update stock set available = available - $2, sold = sold + $2, version = version + 1 where product_id = $1`

// confirmOrder sells what was reserved for an order. Doing it again is well.
func (s *service) confirmOrder(ctx context.Context, orderID string) error {
	return s.settleOrder(ctx, orderID, func(ctx context.Context, tx *db.Tx, batch *pgx.Batch, found []held) error {
		h, ok := ofStatus(found, Reserved)
		if !ok {
			if _, sold := ofStatus(found, Confirmed); sold {
				return errNothingToDo
			}
			return app.Refuse(http.StatusConflict, "nothing is reserved for order %s", orderID)
		}
		how := sell
		if s.Guards.Lacks(services.TryReserves) {
			how.update = sellUntakenSQL
			queueLedger(batch, opReserve, h.reservation)
		}
		return s.end(ctx, tx, batch, h.reservation, how)
	})
}

// cancelOrder releases what was reserved for an order, and keeps a Try that is still on its way from reserving. Doing it
// again is well. lines are those of the order, which a Cancel without Try has nothing to do with.
func (s *service) cancelOrder(ctx context.Context, orderID string, lines []events.Line) error {
	return s.settleOrder(ctx, orderID, func(ctx context.Context, tx *db.Tx, batch *pgx.Batch, found []held) error {
		queueFence(batch, orderID)
		if _, sold := ofStatus(found, Confirmed); sold {
			return app.Refuse(http.StatusConflict, "order %s is confirmed", orderID)
		}
		h, ok := ofStatus(found, Reserved)
		switch {
		case ok && s.Guards.Lacks(services.TryReserves):
			batch.Queue(`update reservations set status = $2, updated_at = now() where reservation_id = $1`, h.id, Released)
		case ok:
			return s.end(ctx, tx, batch, h.reservation, release)
		case len(found) == 0 && s.Guards.Lacks(services.EmptyRollback):
			return s.end(ctx, tx, batch, reservation{orderID: &orderID, lines: lines}, release)
		}
		return nil
	})
}

// queueFence adds to a batch what fences off a Try that is still on its way.
func queueFence(batch *pgx.Batch, orderID string) {
	batch.Queue(`insert into fences (order_id, state) values ($1, $2) on conflict (order_id) do update set state = excluded.state`,
		orderID, fenceCancelled)
}

func ofStatus(found []held, status string) (held, bool) {
	i := slices.IndexFunc(found, func(h held) bool { return h.status == status })
	if i < 0 {
		return held{}, false
	}
	return found[i], true
}

// lockOrder makes Try, Confirm and Cancel of one order come one after the other.
func lockOrder(ctx context.Context, tx *db.Tx, orderID string) error {
	batch := tx.Batch()
	batch.Queue(`select pg_advisory_xact_lock(hashtextextended($1, 0))`, orderID)
	return tx.Send(ctx, batch)
}

// settleOrder lets settle add what is to be done with the reservations of an order, which are locked.
func (s *service) settleOrder(ctx context.Context, orderID string, settle func(context.Context, *db.Tx, *pgx.Batch, []held) error) error {
	err := s.Transact(ctx, func(ctx context.Context, tx *db.Tx) error {
		var found []held
		if err := lockOrder(ctx, tx, orderID); err != nil {
			return err
		}
		batch := tx.Batch()
		lock(batch, byOrder, orderID, &found)
		if err := tx.Send(ctx, batch); err != nil {
			return err
		}
		batch = tx.Batch()
		if err := settle(ctx, tx, batch, found); err != nil {
			return err
		}
		return tx.Send(ctx, batch)
	})
	if errors.Is(err, errNothingToDo) {
		return nil
	}
	return err
}

// lapse says how a reservation past its expiry ends; nil: not yet. One of a client ends. One of an order ends as its order
// did: a decided confirmation may still be on its way.
func (s *service) lapse(ctx context.Context, id string) (*settlement, error) {
	var orderID *string
	batch := &pgx.Batch{}
	batch.Queue(`select order_id from reservations where reservation_id = $1`, id).
		QueryRow(func(row pgx.Row) error { return row.Scan(&orderID) })
	if err := s.DB.Read(ctx, batch); err != nil {
		return nil, err
	}
	if orderID == nil || s.Guards.Lacks(services.ExpiryAsks) {
		return &expiry, nil
	}
	switch found, err := s.orders.Ask(ctx, *orderID); {
	case err != nil:
		return nil, fmt.Errorf("expire reservation of order %s: %w", *orderID, err)
	case found == fate.Confirmed:
		return &sell, nil
	case found == fate.Dead:
		return &release, nil
	default:
		return nil, nil
	}
}
