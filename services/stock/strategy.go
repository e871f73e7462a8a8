package stock

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/app"
	"github.com/ordeal-chaos/ordeal/services/internal/db"
	"github.com/ordeal-chaos/ordeal/services/internal/events"
)

// strategy is how stock moves: one of the parts about stock. Lines come in the order of [app.ByProduct].
type strategy interface {
	// enter adds to a batch what a transaction for an order must begin with.
	enter(ctx context.Context, tx *db.Tx, batch *pgx.Batch)
	// take sends the batch and moves the quantities of lines from available to reserved, or fails with a shortage.
	take(ctx context.Context, tx *db.Tx, batch *pgx.Batch, lines []events.Line) error
	// settle adds to the batch what moves the quantities of lines out of reserved.
	settle(ctx context.Context, tx *db.Tx, batch *pgx.Batch, m move) error
	// loops are what goes on beside the transactions.
	loops() []app.Loop
}

// move is what a settlement does to stock.
type move struct {
	settlement
	lines []events.Line
}

// strategyOf returns the strategy of the design's part.
func strategyOf(core app.Core) strategy {
	switch core.Config.Parts.Stock {
	case services.ReadModifyWrite:
		return readModifyWrite{}
	case services.VersionColumn:
		return versioned{guards: core.Guards}
	case services.SelectForUpdate:
		return forUpdate{}
	case services.SingleWriter:
		return &singleWriter{guards: core.Guards}
	case services.RedisCounter:
		return newRedisCounter(core)
	default:
		return conditional{guards: core.Guards}
	}
}

// relative is what strategies share that settle by one UPDATE: it adds to what is there, whatever that is.
type relative struct{}

func (relative) enter(context.Context, *db.Tx, *pgx.Batch) {}

func (relative) settle(_ context.Context, _ *db.Tx, batch *pgx.Batch, m move) error {
	for _, line := range m.lines {
		batch.Queue(m.update, line.ProductID, line.Qty)
	}
	return nil
}

func (relative) loops() []app.Loop { return nil }

// stockRow is the stock of one product.
type stockRow struct {
	available, reserved, sold int64
	version                   int64
}

const levelColumns = "product_id, available, reserved, sold, version"

// queueRead adds to a batch a query of product_id and the columns of a stockRow, whose rows go into levels. A product
// that is not there has no stock.
func queueRead(batch *pgx.Batch, levels map[string]*stockRow, lines []events.Line, suffix string) {
	products := make([]string, len(lines))
	for i, line := range lines {
		products[i] = line.ProductID
		levels[line.ProductID] = &stockRow{}
	}
	batch.Queue(`select `+levelColumns+` from stock where product_id = any($1) order by product_id`+suffix, products).
		Query(func(rows pgx.Rows) error {
			for rows.Next() {
				var product string
				var l stockRow
				if err := rows.Scan(&product, &l.available, &l.reserved, &l.sold, &l.version); err != nil {
					return err
				}
				levels[product] = &l
			}
			return nil
		})
}

// reserve moves a quantity from available to reserved, or fails with a shortage.
func (l *stockRow) reserve(line events.Line) error {
	if l.available < line.Qty {
		return &shortage{line}
	}
	l.available -= line.Qty
	l.reserved += line.Qty
	return nil
}

// queueWrite adds to a batch what writes a level over whatever is there.
func queueWrite(batch *pgx.Batch, product string, l stockRow) {
	batch.Queue(`update stock set available = $2, reserved = $3, sold = $4, version = version + 1 where product_id = $1`,
		product, l.available, l.reserved, l.sold)
}
