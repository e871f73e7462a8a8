package order

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/app"
	"github.com/ordeal-chaos/ordeal/services/internal/db"
	"github.com/ordeal-chaos/ordeal/services/internal/events"
)

// The order service coordinates the participants of an order as a saga or by try, confirm and cancel. Either is a row that
// names the next step. Each step is persisted before it is taken, so that whoever resumes takes it again: participants
// make no difference between once and twice.

// stepDone is the last step of every coordination.
const stepDone = "done"

const (
	workers = 16
	// lease is how long one driver has an order for itself. It outlasts a call, and is over before the order's time is; an
	// overlap would be harmless.
	lease      = time.Second
	retryAfter = 100 * time.Millisecond // after a step that did not end
)

// coordination is one order on its way through the steps.
type coordination struct {
	orderID string
	step    string
	status  string // of the order, when the coordination was leased
	amount  int64
	lines   []events.Line
}

// queueCoordination adds the coordination of a new order to the transaction that places it.
func (s *service) queueCoordination(tx *db.Tx, batch *pgx.Batch, orderID string) {
	batch.Queue(`insert into coordinations (order_id, step) values ($1, $2)`, orderID, s.firstStep())
	tx.AfterCommit(func(context.Context) {
		select {
		case s.placed <- orderID:
		default: // the poll finds it
		}
	})
}

// coordinate drives orders until ctx is done: new ones at once, those that a failure or a crash left in between as soon
// as their lease is over.
func (s *service) coordinate(ctx context.Context) {
	due := make(chan string)
	group := make(chan struct{}, workers)
	go func() {
		defer close(due)
		s.findDue(ctx, due)
	}()
	for orderID := range due {
		group <- struct{}{}
		go func() {
			defer func() { <-group }()
			if err := s.drive(ctx, orderID); err != nil && ctx.Err() == nil {
				s.Log.Warn("coordinate order", "order", orderID, "error", err)
			}
		}()
	}
	for range workers {
		group <- struct{}{} // all workers have ended
	}
}

// findDue sends the orders that are due, some of them twice, until ctx is done.
func (s *service) findDue(ctx context.Context, due chan<- string) {
	ticker := time.NewTicker(s.Config.SweepInterval)
	defer ticker.Stop()
	for {
		var found []string
		select {
		case <-ctx.Done():
			return
		case orderID := <-s.placed:
			found = []string{orderID}
		case <-ticker.C:
			batch := &pgx.Batch{}
			batch.Queue(`select order_id from coordinations where step <> $1 and leased_until < now() order by leased_until limit $2`,
				stepDone, sweepLimit).Query(func(rows pgx.Rows) (err error) {
				found, err = pgx.CollectRows(rows, pgx.RowTo[string])
				return err
			})
			if err := s.DB.Read(ctx, batch); err != nil && ctx.Err() == nil {
				s.Log.Warn("look for orders to coordinate", "error", err)
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

// errLeased says that another driver has the order, or that its coordination is done.
var errLeased = errors.New("order is coordinated by another")

// drive takes the steps of an order until the last, or until one of them cannot be taken now.
func (s *service) drive(ctx context.Context, orderID string) error {
	c, err := s.leaseOrder(ctx, orderID)
	if errors.Is(err, errLeased) {
		return nil
	}
	for err == nil && c.step != stepDone {
		err = s.takeStep(ctx, &c)
	}
	if err == nil {
		return nil
	}
	// It is due again sooner than the lease ends.
	batch := &pgx.Batch{}
	batch.Queue(`update coordinations set leased_until = now() + $2::bigint * interval '1 microsecond' where order_id = $1`,
		orderID, retryAfter/time.Microsecond)
	return errors.Join(err, s.DB.Read(context.WithoutCancel(ctx), batch))
}

func (s *service) leaseOrder(ctx context.Context, orderID string) (coordination, error) {
	c := coordination{orderID: orderID}
	leased := false
	err := s.DB.Transact(ctx, func(ctx context.Context, tx *db.Tx) error {
		batch := tx.Batch()
		batch.Queue(`update coordinations set leased_until = now() + $2::bigint * interval '1 microsecond'
			where order_id = $1 and step <> $3 and leased_until < now() returning step`,
			orderID, lease/time.Microsecond, stepDone).Query(func(rows pgx.Rows) error {
			if leased = rows.Next(); leased {
				return rows.Scan(&c.step)
			}
			return nil
		})
		batch.Queue(`select status, payment_amt from orders where order_id = $1`, orderID).
			QueryRow(func(row pgx.Row) error { return row.Scan(&c.status, &c.amount) })
		queueLines(batch, orderID, &c.lines)
		return tx.Send(ctx, batch)
	})
	if err == nil && !leased {
		err = errLeased
	}
	return c, err
}

// firstStep is where the design's coordination begins.
func (s *service) firstStep() string {
	if s.Config.Parts.Coordination == services.Saga {
		return sagaReserve
	}
	return tccTry
}

// takeStep takes the next step and persists the one after it. A participant that refuses turns the order back; one that
// does not answer, or not clearly, leaves it where it is.
func (s *service) takeStep(ctx context.Context, c *coordination) error {
	switch s.Config.Parts.Coordination {
	case services.Saga:
		return s.takeSagaStep(ctx, c)
	case services.TCCRest, services.TCCKafka:
		return s.takeTCCStep(ctx, c)
	default:
		return fmt.Errorf("order %s is coordinated by nobody in this design", c.orderID)
	}
}

// turnBack cancels an order, if nobody else has, and goes on to the step that compensates.
func (s *service) turnBack(ctx context.Context, c *coordination, next, reason string) error {
	err := s.move(ctx, c, next, &decision{orderID: c.orderID, status: Cancelled, reason: reason})
	if errors.Is(err, errDecided) {
		err = s.move(ctx, c, next, nil)
	}
	return err
}

// after goes on to next after a step that ended with err. A participant that refuses it has broken its word: to ask again
// cannot help, and the log says so.
func (s *service) after(ctx context.Context, c *coordination, next string, err error) error {
	var refused *app.Problem
	if errors.As(err, &refused) {
		s.Log.Error("participant refuses what was decided", "order", c.orderID, "step", c.step, "error", err)
	} else if err != nil {
		return err
	}
	return s.move(ctx, c, next, nil)
}

// errMoved rolls back what a driver did to an order that another has moved on.
var errMoved = errors.New("order was moved by another")

// move persists the next step, and decides the order in the same transaction, if it is given a decision.
func (s *service) move(ctx context.Context, c *coordination, next string, d *decision) error {
	err := s.DB.Transact(ctx, func(ctx context.Context, tx *db.Tx) error {
		batch := tx.Batch()
		batch.Queue(`update coordinations set step = $3, leased_until = now() + $4::bigint * interval '1 microsecond', updated_at = now()
			where order_id = $1 and step = $2`, c.orderID, c.step, next, lease/time.Microsecond).
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
		c.step = next
	}
	return err
}
