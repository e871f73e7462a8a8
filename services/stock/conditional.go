package stock

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/db"
	"github.com/ordeal-chaos/ordeal/services/internal/events"
	"github.com/ordeal-chaos/ordeal/services/internal/guard"
)

// conditional takes stock by one UPDATE where there is enough.
type conditional struct {
	relative
	guards *guard.Set
}

func (c conditional) take(ctx context.Context, tx *db.Tx, batch *pgx.Batch, lines []events.Line) error {
	if c.guards.Lacks(services.ConditionalUpdate) {
		return readModifyWrite{}.take(ctx, tx, batch, lines)
	}
	for _, line := range lines {
		batch.Queue(`update stock set available = available - $2, reserved = reserved + $2, version = version + 1
			where product_id = $1 and available >= $2`, line.ProductID, line.Qty).Exec(func(tag pgconn.CommandTag) error {
			if tag.RowsAffected() == 0 {
				return &shortage{line}
			}
			return nil
		})
	}
	return tx.Send(ctx, batch)
}

// readModifyWrite reads, checks and writes back what it computed, over whatever others wrote in between.
type readModifyWrite struct{ relative }

func (readModifyWrite) take(ctx context.Context, tx *db.Tx, batch *pgx.Batch, lines []events.Line) error {
	return takeRead(ctx, tx, batch, lines, "")
}

// forUpdate reads under row locks, which it takes in the order of products, checks and writes back.
type forUpdate struct{ relative }

func (forUpdate) take(ctx context.Context, tx *db.Tx, batch *pgx.Batch, lines []events.Line) error {
	return takeRead(ctx, tx, batch, lines, " for update")
}

func takeRead(ctx context.Context, tx *db.Tx, batch *pgx.Batch, lines []events.Line, suffix string) error {
	levels := map[string]*stockRow{}
	queueRead(batch, levels, lines, suffix)
	if err := tx.Send(ctx, batch); err != nil {
		return err
	}
	batch = tx.Batch()
	for _, line := range lines {
		now := levels[line.ProductID]
		if err := now.reserve(line); err != nil {
			return err
		}
		batch.Queue(`update stock set available = $2, reserved = $3, version = version + 1 where product_id = $1`,
			line.ProductID, now.available, now.reserved)
	}
	return tx.Send(ctx, batch)
}
