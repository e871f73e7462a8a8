package payment

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/db"
	"github.com/ordeal-chaos/ordeal/services/internal/fate"
)

const expireLimit = 100

// asks reports whether what was held is given up only for an order that is dead. A decided confirmation that is still
// on its way must not meet an expired hold.
func (s *service) asks() bool {
	coordination := s.Config.Parts.Coordination
	tcc := coordination == services.TCCRest || coordination == services.TCCKafka
	return tcc && !s.Guards.Lacks(services.ExpiryAsks)
}

// expire ends holds that are past their expiry.
func (s *service) expire(ctx context.Context) error {
	var due []string
	batch := &pgx.Batch{}
	batch.Queue(`select order_id from payments where status = 'AUTHORIZED' and expires_at <= clock_timestamp()
		order by expires_at limit $1`, expireLimit).Query(func(rows pgx.Rows) (err error) {
		due, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	if err := s.DB.Read(ctx, batch); err != nil {
		return err
	}
	var errs []error
	for _, orderID := range due {
		if err := s.expireOne(ctx, orderID); err != nil {
			errs = append(errs, fmt.Errorf("expire payment of order %s: %w", orderID, err))
		}
	}
	return errors.Join(errs...)
}

func (s *service) expireOne(ctx context.Context, orderID string) error {
	to := Voided
	if s.asks() {
		found, err := s.orders.Ask(ctx, orderID)
		if err != nil || found == fate.Undecided {
			return err // it lasts until the order is decided
		}
		if found == fate.Confirmed {
			to = Captured
		}
	}
	return s.DB.Transact(ctx, func(ctx context.Context, tx *db.Tx) error {
		p, err := find(ctx, tx, orderID)
		if err != nil || p.status != Authorized {
			return err // settled meanwhile
		}
		_, err = s.move(ctx, tx, p, to, nil)
		return err
	})
}
