package stock

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/db"
	"github.com/ordeal-chaos/ordeal/services/internal/events"
	"github.com/ordeal-chaos/ordeal/services/internal/guard"
)

// versionTries bounds how often a line is read again because somebody else changed its stock in between.
const versionTries = 5

// versioned takes stock by reading it and writing it back where its version is still the same. Everything else that
// changes stock counts its version up.
type versioned struct {
	relative
	guards *guard.Set
}

func (v versioned) take(ctx context.Context, tx *db.Tx, batch *pgx.Batch, lines []events.Line) error {
	levels := map[string]*stockRow{}
	queueRead(batch, levels, lines, "")
	if err := tx.Send(ctx, batch); err != nil {
		return err
	}
	// One line after the other: those that are written stay locked, and everybody locks in the order of products.
	for _, line := range lines {
		if err := v.write(ctx, tx, levels, line); err != nil {
			return err
		}
	}
	return nil
}

// write takes one line. When the tries are used up the error is a contended one, and the whole is tried again later.
func (v versioned) write(ctx context.Context, tx *db.Tx, levels map[string]*stockRow, line events.Line) error {
	for try := 1; ; try++ {
		now := levels[line.ProductID]
		if err := now.reserve(line); err != nil {
			return err
		}
		written := false
		batch := tx.Batch()
		v.queue(batch, line.ProductID, *now).Exec(func(tag pgconn.CommandTag) error {
			written = tag.RowsAffected() > 0
			return nil
		})
		if err := tx.Send(ctx, batch); err != nil {
			return err
		}
		now.version++
		if written {
			return nil
		}
		if try == versionTries {
			return fmt.Errorf("%w: the version of %s changed %d times", db.ErrContended, line.ProductID, try)
		}
		batch = tx.Batch()
		queueRead(batch, levels, []events.Line{line}, "")
		if err := tx.Send(ctx, batch); err != nil {
			return err
		}
	}
}

func (v versioned) queue(batch *pgx.Batch, product string, now stockRow) *pgx.QueuedQuery {
	const update = `update stock set available = $2, reserved = $3, version = version + 1 where product_id = $1`
	if v.guards.Lacks(services.VersionCheck) {
		return batch.Queue(update, product, now.available, now.reserved)
	}
	return batch.Queue(update+` and version = $4`, product, now.available, now.reserved, now.version)
}
