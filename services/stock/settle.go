package stock

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/ordeal-chaos/ordeal/services/internal/app"
	"github.com/ordeal-chaos/ordeal/services/internal/db"
	"github.com/ordeal-chaos/ordeal/services/internal/events"
)

// settlement ends a reservation.
type settlement struct {
	status string // to
	op     string // of the ledger
	update string // of stock: $1 product, $2 quantity
}

// Ledger operations.
const (
	opReserve = "reserve"
	opSell    = "sell"
	opRelease = "release"
)

const (
	sellSQL    = `update stock set reserved = reserved - $2, sold = sold + $2, version = version + 1 where product_id = $1`
	releaseSQL = `update stock set reserved = reserved - $2, available = available + $2, version = version + 1 where product_id = $1`
)

var (
	sell    = settlement{status: Confirmed, op: opSell, update: sellSQL}
	release = settlement{status: Released, op: opRelease, update: releaseSQL}
	expiry  = settlement{status: Expired, op: opRelease, update: releaseSQL}
)

// end adds what ends a reservation, which is locked and RESERVED, to a batch.
func (s *service) end(ctx context.Context, tx *db.Tx, batch *pgx.Batch, r reservation, how settlement) error {
	batch.Queue(`update reservations set status = $2, updated_at = now() where reservation_id = $1`, r.id, how.status)
	if err := s.stocks.settle(ctx, tx, batch, move{how, app.ByProduct(r.lines)}); err != nil {
		return err
	}
	queueLedger(batch, how.op, r)
	return nil
}

// held is a locked reservation.
type held struct {
	reservation
	due bool // it is past its expiry, whether or not that was noted
}

// Ways to choose reservations to lock.
const (
	byID    = "r.reservation_id = $1"
	byOrder = "r.order_id = $1"
)

// lock adds to a batch the query that locks the chosen reservations, which are in *found once it was sent.
func lock(batch *pgx.Batch, choice, id string, found *[]held) {
	// FOR UPDATE locks reservations before stock rows: everybody does it in this order.
	batch.Queue(`select r.reservation_id, r.order_id, r.status, coalesce(r.expires_at <= clock_timestamp(), false),
			l.line_no, l.product_id, l.qty
		from reservations r join reservation_lines l using (reservation_id)
		where `+choice+` order by r.reservation_id, l.line_no for update of r`, id).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			var h held
			var line events.Line
			if err := rows.Scan(&h.id, &h.orderID, &h.status, &h.due, &line.LineNo, &line.ProductID, &line.Qty); err != nil {
				return err
			}
			if n := len(*found); n == 0 || (*found)[n-1].id != h.id {
				*found = append(*found, h)
			}
			last := &(*found)[len(*found)-1]
			last.lines = append(last.lines, line)
		}
		return nil
	})
}

const expireLimit = 100

// errSettled rolls back an expiry that came too late.
var errSettled = errors.New("reservation is settled")

// expire ends reservations past their expiry. Those of orders have none: the order's own end settles them, so that an
// outage longer than a time to live never releases what was sold.
func (s *service) expire(ctx context.Context) error {
	var due []string
	batch := &pgx.Batch{}
	batch.Queue(`select reservation_id from reservations r where status = 'RESERVED' and expires_at <= clock_timestamp()
		and not exists (select from fences f where f.order_id = r.order_id and f.state = 'CANCELLED') order by expires_at limit $1`, expireLimit).Query(func(rows pgx.Rows) (err error) {
		due, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	if err := s.DB.Read(ctx, batch); err != nil {
		return err
	}
	var errs []error
	for _, id := range due {
		how, err := s.lapse(ctx, id)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if how == nil {
			continue
		}
		err = s.DB.Transact(ctx, func(ctx context.Context, tx *db.Tx) error {
			var found []held
			batch := tx.Batch()
			lock(batch, byID, id, &found)
			if err := tx.Send(ctx, batch); err != nil {
				return err
			}
			if len(found) == 0 || found[0].status != Reserved {
				return errSettled // by a client, or by another replica
			}
			batch = tx.Batch()
			if err := s.end(ctx, tx, batch, found[0].reservation, *how); err != nil {
				return err
			}
			return tx.Send(ctx, batch)
		})
		if err != nil && !errors.Is(err, errSettled) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
