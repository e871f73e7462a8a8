package stock

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/app"
	"github.com/ordeal-chaos/ordeal/services/internal/db"
	"github.com/ordeal-chaos/ordeal/services/internal/events"
)

// shortage says that a line cannot be reserved. It rolls back the lines that could.
type shortage struct {
	line events.Line
}

func (s *shortage) Error() string {
	return fmt.Sprintf("insufficient stock: %d of %s", s.line.Qty, s.line.ProductID)
}

// reservation is a row of the table, with its lines.
type reservation struct {
	id       string
	orderID  *string // nil: of a client, and it expires
	status   string
	announce *string // id of the event that announces it
	cause    *string // id of the event that asked for it
	lines    []events.Line
	ttl      time.Duration // 0: never expires
}

// take moves the quantities of lines from available to reserved, or fails with a shortage.
func (s *service) take(ctx context.Context, tx *db.Tx, batch *pgx.Batch, lines []events.Line) error {
	lines = app.ByProduct(lines)
	if s.Guards.Lacks(services.ConditionalUpdate) {
		return takeUnconditionally(ctx, tx, batch, lines)
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

// takeUnconditionally reads, checks and writes back what it computed, over whatever others wrote in between.
func takeUnconditionally(ctx context.Context, tx *db.Tx, batch *pgx.Batch, lines []events.Line) error {
	type level struct{ available, reserved int64 }
	levels := map[string]*level{}
	for _, line := range lines {
		batch.Queue(`select available, reserved from stock where product_id = $1`, line.ProductID).Query(func(rows pgx.Rows) error {
			read := &level{}
			levels[line.ProductID] = read
			if rows.Next() {
				return rows.Scan(&read.available, &read.reserved)
			}
			return nil
		})
	}
	if err := tx.Send(ctx, batch); err != nil {
		return err
	}
	batch = tx.Batch()
	for _, line := range lines {
		now := levels[line.ProductID]
		if now.available < line.Qty {
			return &shortage{line}
		}
		now.available -= line.Qty
		now.reserved += line.Qty
		batch.Queue(`update stock set available = $2, reserved = $3, version = version + 1 where product_id = $1`,
			line.ProductID, now.available, now.reserved)
	}
	return tx.Send(ctx, batch)
}

// queueReservation adds the rows of a new reservation to a batch. When the batch was sent, *expires says when it
// expires, if it does.
func queueReservation(batch *pgx.Batch, r reservation, expires **time.Time) {
	batch.Queue(`insert into reservations (reservation_id, order_id, status, event_id, expires_at)
		values ($1, $2, $3, $4, now() + nullif($5::bigint, 0) * interval '1 microsecond') returning expires_at`,
		r.id, r.orderID, r.status, r.announce, r.ttl/time.Microsecond).QueryRow(func(row pgx.Row) error {
		return row.Scan(expires)
	})
	for _, line := range r.lines {
		batch.Queue(`insert into reservation_lines (reservation_id, line_no, product_id, qty) values ($1, $2, $3, $4)`,
			r.id, line.LineNo, line.ProductID, line.Qty)
	}
}

// queueLedger adds a ledger entry for each line of a reservation to a batch.
func queueLedger(batch *pgx.Batch, op string, r reservation) {
	for _, line := range r.lines {
		batch.Queue(`insert into stock_ledger (product_id, op, qty, order_id, reservation_id, line_no, event_id)
			values ($1, $2, $3, $4, $5, $6, $7)`, line.ProductID, op, line.Qty, r.orderID, r.id, line.LineNo, r.cause)
	}
}
