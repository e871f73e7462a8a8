package stock

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

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

// take sends the batch and moves the quantities of lines from available to reserved, or fails with a shortage.
func (s *service) take(ctx context.Context, tx *db.Tx, batch *pgx.Batch, lines []events.Line) error {
	return s.stocks.take(ctx, tx, batch, app.ByProduct(lines))
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
