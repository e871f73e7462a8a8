package payment

import (
	"context"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/app"
	"github.com/ordeal-chaos/ordeal/services/internal/db"
	"github.com/ordeal-chaos/ordeal/services/internal/events"
)

// charge is a valid request for money. The exported fields are what was asked for.
type charge struct {
	OrderID string
	Amount  int64
	Hold    bool    // hold it only, until it is confirmed, cancelled, or expires
	key     *string // idempotency key
	cause   *string // id of the event that asked for it
}

// Operations of the ledger.
const (
	opAuthorize = "authorize"
	opCapture   = "capture"
	opVoid      = "void"
	opRefund    = "refund"
	opDecline   = "decline"
)

// announced is the type of the event that announces a payment of each status; the others have none.
var announced = map[string]string{
	Captured: events.PaymentCaptured,
	Declined: events.PaymentDeclined,
	Refunded: events.PaymentRefunded,
}

// operation is the entry that a payment of each status owes the ledger.
var operation = map[string]string{
	Authorized: opAuthorize, Captured: opCapture, Declined: opDecline, Voided: opVoid, Refunded: opRefund,
}

// outcome is the status of a new payment. A charge above the limit is declined, each time that it is asked for.
func (s *service) outcome(c charge) string {
	limit := s.Config.PaymentLimit
	switch {
	case limit > 0 && c.Amount > limit:
		return Declined
	case c.Hold:
		return Authorized
	default:
		return Captured
	}
}

// charge makes the payment of an order, or finds the one that it has, be it the fence of an order that was cancelled
// before; made says which. What is written goes with the transaction, together with what the caller adds afterwards.
func (s *service) charge(ctx context.Context, tx *db.Tx, batch *pgx.Batch, c charge) (p payment, made bool, err error) {
	p = payment{id: events.NewID(), orderID: c.OrderID, status: s.outcome(c), amount: c.Amount, version: 1}
	event := announcement(p)
	var life time.Duration
	if p.status == Authorized {
		p.expires, life = true, s.Config.ReservationTTL
	}
	batch.Queue(`insert into payments (payment_id, order_id, status, amount, version, event_id, expires_at)
		values ($1, $2, $3, $4, 1, nullif($5, ''), now() + nullif($6::bigint, 0) * interval '1 microsecond') on conflict (order_id) do nothing`,
		p.id, p.orderID, p.status, p.amount, event.ID, life/time.Microsecond).Exec(func(tag pgconn.CommandTag) error {
		made = tag.RowsAffected() > 0
		return nil
	})
	var found payment
	queueFind(batch, c.OrderID, true, &found)
	if err := tx.Send(ctx, batch); err != nil {
		return payment{}, false, err
	}
	if !made {
		return found, false, nil
	}
	batch = tx.Batch()
	s.note(tx, batch, p, event, c.cause)
	return p, true, tx.Send(ctx, batch)
}

// announcement is the event that announces a payment as it is. Its id is empty where none does.
func announcement(p payment) events.Event {
	kind, ok := announced[p.status]
	if !ok {
		return events.Event{}
	}
	return events.Event{ID: events.NewID(), Type: kind, OrderID: p.orderID, Version: p.version, PaymentAmt: &p.amount}
}

// note adds to a batch what every movement of money leaves: an entry of the ledger, and its announcement.
func (s *service) note(tx *db.Tx, batch *pgx.Batch, p payment, event events.Event, cause *string) {
	batch.Queue(`insert into payment_ledger (payment_id, order_id, op, amount, event_id) values ($1, $2, $3, $4, $5)`,
		p.id, p.orderID, operation[p.status], p.amount, cause)
	if event.ID != "" {
		s.Publisher.Announce(tx, batch, events.PaymentEvents, event)
	}
}

// chargeForClient charges for a client, who may ask again: as long as it asks for the same, it gets the payment that
// the order has, with made unset. The error is a Problem when the payment was declined, cancelled or is another one.
func (s *service) chargeForClient(ctx context.Context, c charge) (p payment, made bool, err error) {
	fingerprint := app.Fingerprint(c)
	err = s.Transact(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		p, made, err = s.charge(ctx, tx, tx.Batch(), c)
		if err != nil || c.key == nil || s.Guards.Lacks(services.IdempotencyKey) {
			return err
		}
		batch := tx.Batch()
		batch.Queue(`insert into idempotency_keys as k (idempotency_key, payment_id, fingerprint) values ($1, $2, $3)
			on conflict (idempotency_key) do update set fingerprint = k.fingerprint returning fingerprint`,
			*c.key, p.id, fingerprint).QueryRow(func(row pgx.Row) error {
			var first string
			if err := row.Scan(&first); err != nil || first == fingerprint {
				return err
			}
			return app.Refuse(http.StatusUnprocessableEntity, "Idempotency-Key %s was used for another request", *c.key)
		})
		return tx.Send(ctx, batch)
	})
	switch {
	case err != nil:
		return payment{}, false, err
	case p.status == Declined:
		return payment{}, false, app.Refuse(http.StatusPaymentRequired, "payment of order %s is declined", c.OrderID)
	case p.status == Voided || p.status == Refunded:
		return payment{}, false, app.Refuse(http.StatusConflict, "payment of order %s is %s", c.OrderID, p.status)
	case p.amount != c.Amount:
		return payment{}, false, app.Refuse(http.StatusUnprocessableEntity, "order %s has a payment of %d, and not of %d", c.OrderID, p.amount, c.Amount)
	}
	return p, made, nil
}
