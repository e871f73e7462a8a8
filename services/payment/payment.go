// Package payment owns the payment service: it charges for each order once, and gives back what it took for an order
// that came to nothing. It listens to the events of the others, or is called by whoever coordinates the order.
package payment

import (
	"context"
	_ "embed"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/jackc/pgx/v5"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/app"
	"github.com/ordeal-chaos/ordeal/services/internal/fate"
)

// Schema creates the tables of the service's database. It is idempotent.
//
//go:embed schema.sql
var Schema string

// Statuses of a payment. A payment begins as any of the first four: as VOIDED when its order was cancelled before
// anything was charged, which keeps a late charge out. The last three are terminal.
const (
	Authorized = "AUTHORIZED" // held, to be captured or voided
	Captured   = "CAPTURED"
	Declined   = "DECLINED"
	Voided     = "VOIDED"
	Refunded   = "REFUNDED"
)

// Main is the whole program: it runs until ctx is done or the process is asked to stop, and returns the exit code. The
// environment variables are listed in package services.
func Main(ctx context.Context) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	return Run(ctx, os.Getenv, os.Stderr)
}

// Run is Main with another environment and log, and without signals.
func Run(ctx context.Context, getenv func(string) string, log io.Writer) int {
	return app.Service{
		Name:     services.PaymentService,
		Consumes: func(p services.Parts) []string { return p.Consumes(services.PaymentService) },
		Schema:   Schema,
		Assemble: assemble,
	}.Run(ctx, getenv, log)
}

type service struct {
	app.Core
	orders *fate.Orders
}

func assemble(core app.Core) app.Parts {
	s := &service{Core: core, orders: fate.At(core.Config.OrderURL)}
	return app.Parts{
		Effect: s.heard,
		Routes: func(mux *http.ServeMux) {
			mux.HandleFunc("POST /api/v1/payments", s.postPayment)
			mux.HandleFunc("GET /api/v1/payments/{order}", s.getPayment)
			mux.HandleFunc("PUT /api/v1/payments/{order}", s.putPayment)
			mux.HandleFunc("DELETE /api/v1/payments/{order}", s.deletePayment)
		},
		Loops: []app.Loop{{Name: "expire holds", Every: core.Config.SweepInterval, Do: s.expire}},
	}
}

// payment is a row of the table. Its id is empty where an order has none.
type payment struct {
	id, orderID, status string
	amount              int64
	version             int
	expires             bool // it is a hold that expires, or one that did
	due                 bool // it is past its expiry, whether or not that was noted
}

const columns = `payment_id, order_id, status, amount, version, expires_at is not null, coalesce(expires_at <= clock_timestamp(), false)`

// queueFind adds to a batch the query of the payment of an order, which is in *found once it was sent. With lock it is
// nobody else's until the transaction ends.
func queueFind(batch *pgx.Batch, orderID string, lock bool, found *payment) {
	query := `select ` + columns + ` from payments where order_id = $1`
	if lock {
		query += ` for update`
	}
	batch.Queue(query, orderID).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			if err := rows.Scan(&found.id, &found.orderID, &found.status, &found.amount, &found.version, &found.expires, &found.due); err != nil {
				return err
			}
		}
		return nil
	})
}
