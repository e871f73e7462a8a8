package order

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ordeal-chaos/ordeal/services/internal/app"
	"github.com/ordeal-chaos/ordeal/services/internal/db"
	"github.com/ordeal-chaos/ordeal/services/internal/events"
)

// Steps of a saga. Each is persisted before it is taken, so that whoever resumes takes it again: the participants make
// no difference between once and twice. Forward it goes from the first to sagaSell; back, from where it turned, to the end.
const (
	sagaReserve = "reserve" // stock takes the lines
	sagaCharge  = "charge"  // payment charges the amount
	sagaConfirm = "confirm" // the order is confirmed: from here there is no way back
	sagaSell    = "sell"    // stock sells what it took
	sagaRefund  = "refund"  // back: payment refunds, or refuses a charge that is still on its way
	sagaRelease = "release" // back: stock gives back, or refuses a reservation that is still on its way
	sagaDone    = "done"
)

const (
	sagaWorkers = 16
	// sagaLease is how long one driver has a saga for itself. It outlasts a call; an overlap would be harmless.
	sagaLease = 3 * time.Second
	sagaRetry = 100 * time.Millisecond // after a step that did not end
)

// saga is what drives one order through its steps.
type saga struct {
	orderID string
	step    string
	amount  int64
	lines   []events.Line
}

// queueSaga adds the saga of a new order to the transaction that places it.
func (s *service) queueSaga(tx *db.Tx, batch *pgx.Batch, orderID string) {
	batch.Queue(`insert into sagas (order_id, step) values ($1, $2)`, orderID, sagaReserve)
	tx.AfterCommit(func(context.Context) {
		select {
		case s.sagas <- orderID:
		default: // the poll finds it
		}
	})
}

// driveSagas drives sagas until ctx is done: those of new orders at once, those that a failure or a crash left in between as
// soon as their lease is over.
func (s *service) driveSagas(ctx context.Context) {
	due := make(chan string)
	group := make(chan struct{}, sagaWorkers)
	go func() {
		defer close(due)
		s.findSagas(ctx, due)
	}()
	for orderID := range due {
		group <- struct{}{}
		go func() {
			defer func() { <-group }()
			if err := s.driveSaga(ctx, orderID); err != nil && ctx.Err() == nil {
				s.Log.Warn("drive saga", "order", orderID, "error", err)
			}
		}()
	}
	for range sagaWorkers {
		group <- struct{}{} // all workers have ended
	}
}

// findSagas sends the orders whose sagas are due, some of them twice, until ctx is done.
func (s *service) findSagas(ctx context.Context, due chan<- string) {
	ticker := time.NewTicker(s.Config.SweepInterval)
	defer ticker.Stop()
	for {
		var found []string
		select {
		case <-ctx.Done():
			return
		case orderID := <-s.sagas:
			found = []string{orderID}
		case <-ticker.C:
			batch := &pgx.Batch{}
			batch.Queue(`select order_id from sagas where step <> $1 and leased_until < now() order by leased_until limit $2`,
				sagaDone, sweepLimit).Query(func(rows pgx.Rows) (err error) {
				found, err = pgx.CollectRows(rows, pgx.RowTo[string])
				return err
			})
			if err := s.DB.Read(ctx, batch); err != nil && ctx.Err() == nil {
				s.Log.Warn("look for sagas", "error", err)
			}
		}
		for _, orderID := range found {
			select {
			case due <- orderID:
			case <-ctx.Done():
				return
			}
		}
	}
}

// errLeased says that another driver has the saga, or that it is done.
var errLeased = errors.New("saga is driven by another")

// driveSaga takes the steps of a saga until it is done, or one of them cannot be taken now.
func (s *service) driveSaga(ctx context.Context, orderID string) error {
	g, err := s.leaseSaga(ctx, orderID)
	if errors.Is(err, errLeased) {
		return nil
	}
	for err == nil && g.step != sagaDone {
		err = s.takeStep(ctx, &g)
	}
	if err == nil {
		return nil
	}
	// It is due again sooner than the lease ends.
	batch := &pgx.Batch{}
	batch.Queue(`update sagas set leased_until = now() + $2::bigint * interval '1 microsecond' where order_id = $1`,
		orderID, sagaRetry/time.Microsecond)
	return errors.Join(err, s.DB.Read(context.WithoutCancel(ctx), batch))
}

func (s *service) leaseSaga(ctx context.Context, orderID string) (saga, error) {
	g := saga{orderID: orderID}
	leased := false
	err := s.DB.Transact(ctx, func(ctx context.Context, tx *db.Tx) error {
		batch := tx.Batch()
		batch.Queue(`update sagas set leased_until = now() + $2::bigint * interval '1 microsecond'
			where order_id = $1 and step <> $3 and leased_until < now() returning step`,
			orderID, sagaLease/time.Microsecond, sagaDone).Query(func(rows pgx.Rows) error {
			if leased = rows.Next(); leased {
				return rows.Scan(&g.step)
			}
			return nil
		})
		batch.Queue(`select payment_amt from orders where order_id = $1`, orderID).
			QueryRow(func(row pgx.Row) error { return row.Scan(&g.amount) })
		queueLines(batch, orderID, &g.lines)
		return tx.Send(ctx, batch)
	})
	if err == nil && !leased {
		err = errLeased
	}
	return g, err
}

// takeStep takes the saga's step and persists the next. A participant that refuses turns the saga back; one that does
// not answer, or not clearly, leaves it where it is.
func (s *service) takeStep(ctx context.Context, g *saga) error {
	switch g.step {
	case sagaReserve:
		return s.forward(ctx, g, sagaCharge, s.tryStock(ctx, g.orderID, g.lines))
	case sagaCharge:
		return s.forward(ctx, g, sagaConfirm, s.charge(ctx, g.orderID, g.amount))
	case sagaConfirm:
		err := s.moveSaga(ctx, g, sagaSell, &decision{orderID: g.orderID, status: Confirmed})
		if errors.Is(err, errDecided) { // cancelled meanwhile, by its client or for its age
			return s.moveSaga(ctx, g, sagaRefund, nil)
		}
		return err
	case sagaSell:
		return s.after(ctx, g, sagaDone, s.confirmStock(ctx, g.orderID))
	case sagaRefund:
		return s.after(ctx, g, sagaRelease, s.refund(ctx, g.orderID))
	case sagaRelease:
		return s.after(ctx, g, sagaDone, s.cancelStock(ctx, g.orderID))
	default:
		return fmt.Errorf("saga of order %s is at %q, which is no step", g.orderID, g.step)
	}
}

// forward goes on to next after a step that ended with err, or turns back when the participant refused.
func (s *service) forward(ctx context.Context, g *saga, next string, err error) error {
	var refused *app.Problem
	switch {
	case err == nil:
		return s.moveSaga(ctx, g, next, nil)
	case !errors.As(err, &refused):
		return err
	}
	// What was refused is compensated too: an earlier attempt may still be on its way.
	err = s.moveSaga(ctx, g, sagaRefund, &decision{orderID: g.orderID, status: Cancelled, reason: refused.Message})
	if errors.Is(err, errDecided) {
		err = s.moveSaga(ctx, g, sagaRefund, nil)
	}
	return err
}

// after goes on to next after a step that must not be refused.
func (s *service) after(ctx context.Context, g *saga, next string, err error) error {
	if err != nil {
		return err
	}
	return s.moveSaga(ctx, g, next, nil)
}

// errMoved rolls back what a driver did to a saga that another has moved on.
var errMoved = errors.New("saga was moved by another")

// moveSaga persists the next step, and decides the order in the same transaction, if it is given a decision.
func (s *service) moveSaga(ctx context.Context, g *saga, next string, d *decision) error {
	err := s.DB.Transact(ctx, func(ctx context.Context, tx *db.Tx) error {
		batch := tx.Batch()
		batch.Queue(`update sagas set step = $3, leased_until = now() + $4::bigint * interval '1 microsecond', updated_at = now()
			where order_id = $1 and step = $2`, g.orderID, g.step, next, sagaLease/time.Microsecond).
			Exec(func(tag pgconn.CommandTag) error {
				if tag.RowsAffected() == 0 {
					return errMoved
				}
				return nil
			})
		if err := tx.Send(ctx, batch); err != nil || d == nil {
			return err
		}
		return s.decide(ctx, tx, *d)
	})
	if err == nil {
		g.step = next
	}
	return err
}

// charge asks the payment service for the amount of an order.
func (s *service) charge(ctx context.Context, orderID string, amount int64) error {
	return s.ask(ctx, http.MethodPost, s.Config.PaymentURL+"/api/v1/payments", "order-"+orderID, map[string]any{"orderId": orderID, "amount": amount})
}

// refund gives back what was charged for an order, or sees to it that nothing will be.
func (s *service) refund(ctx context.Context, orderID string) error {
	return s.ask(ctx, http.MethodDelete, s.Config.PaymentURL+"/api/v1/payments/"+orderID, "", nil)
}
