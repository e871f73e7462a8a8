package order

import (
	"context"
	"errors"
	"net/http"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/app"
	"github.com/ordeal-chaos/ordeal/services/internal/db"
	"github.com/ordeal-chaos/ordeal/services/internal/events"
)

// placement is a valid request for an order. The exported fields are what the client asked for.
type placement struct {
	OrderID    string // empty: the service chooses
	Lines      []events.Line
	PaymentAmt int64
	key        *string // idempotency key
}

// errKeyUsed rolls back a placement whose idempotency key has an order.
var errKeyUsed = errors.New("idempotency key was used before")

// place makes an order. A placement whose key has an order of the same request returns that one, with replayed set.
func (s *service) place(ctx context.Context, p placement) (placed view, replayed bool, err error) {
	// The id is no part of it: a retry may leave it to the service.
	fingerprint := app.Fingerprint(placement{Lines: p.Lines, PaymentAmt: p.PaymentAmt})
	orderID := p.OrderID
	if orderID == "" {
		orderID = events.NewID()
	}
	event := events.Event{
		ID: events.NewID(), Type: events.OrderPlaced, OrderID: orderID, Version: 1, Lines: p.Lines, PaymentAmt: &p.PaymentAmt,
	}
	err = s.transact(ctx, event, func(ctx context.Context, tx *db.Tx) error {
		batch := tx.Batch()
		if p.key != nil && !s.Guards.Lacks(services.IdempotencyKey) {
			batch.Queue(`insert into idempotency_keys (idempotency_key, order_id, fingerprint) values ($1, $2, $3)
				on conflict do nothing`, *p.key, orderID, fingerprint).Exec(inserted(errKeyUsed))
		}
		batch.Queue(`insert into orders (order_id, status, version, idempotency_key, payment_amt, event_id)
			values ($1, $2, 1, $3, $4, $5) on conflict do nothing`,
			orderID, Pending, p.key, p.PaymentAmt, event.ID).
			Exec(inserted(app.Refuse(http.StatusConflict, "order %s exists", orderID)))
		for _, line := range p.Lines {
			batch.Queue(`insert into order_lines (order_id, line_no, product_id, qty) values ($1, $2, $3, $4)`,
				orderID, line.LineNo, line.ProductID, line.Qty)
		}
		if s.Config.Parts.CoordinatesOverREST() {
			s.queueCoordination(tx, batch, orderID)
		}
		s.Publisher.Announce(tx, batch, events.OrderEvents, event)
		return tx.Send(ctx, batch)
	})
	if errors.Is(err, errKeyUsed) {
		placed, err = s.replay(ctx, *p.key, fingerprint)
		if err == nil && p.OrderID != "" && p.OrderID != placed.OrderID {
			err = app.Refuse(http.StatusUnprocessableEntity, "Idempotency-Key %s was used for order %s", *p.key, placed.OrderID)
		}
		return placed, true, err
	}
	return view{OrderID: orderID, Status: Pending, Version: 1, PaymentAmt: p.PaymentAmt, Lines: p.Lines}, false, err
}

// inserted returns a callback that fails with err when the row was there before.
func inserted(err error) func(pgconn.CommandTag) error {
	return func(tag pgconn.CommandTag) error {
		if tag.RowsAffected() == 0 {
			return err
		}
		return nil
	}
}

// replay returns the order that was placed with key.
func (s *service) replay(ctx context.Context, key, fingerprint string) (view, error) {
	var orderID, first string
	batch := &pgx.Batch{}
	batch.Queue(`select order_id, fingerprint from idempotency_keys where idempotency_key = $1`, key).
		QueryRow(func(row pgx.Row) error { return row.Scan(&orderID, &first) })
	if err := s.DB.Read(ctx, batch); err != nil {
		return view{}, err
	}
	if first != fingerprint {
		return view{}, app.Refuse(http.StatusUnprocessableEntity, "Idempotency-Key %s was used for another request", key)
	}
	return s.find(ctx, orderID)
}

// find returns an order, or a Problem.
func (s *service) find(ctx context.Context, orderID string) (view, error) {
	order := view{OrderID: orderID}
	batch := &pgx.Batch{}
	batch.Queue(`select status, version, payment_amt from orders where order_id = $1`, orderID).
		QueryRow(func(row pgx.Row) error { return row.Scan(&order.Status, &order.Version, &order.PaymentAmt) })
	queueLines(batch, orderID, &order.Lines)
	err := s.DB.Read(ctx, batch)
	if errors.Is(err, pgx.ErrNoRows) {
		return view{}, app.Refuse(http.StatusNotFound, "no order %s", orderID)
	}
	return order, err
}

func queueLines(batch *pgx.Batch, orderID string, lines *[]events.Line) {
	batch.Queue(`select line_no, product_id, qty from order_lines where order_id = $1 order by line_no`, orderID).
		Query(func(rows pgx.Rows) (err error) {
			*lines, err = pgx.CollectRows(rows, pgx.RowToStructByPos[events.Line])
			return err
		})
}
