// Package stock owns the stock service: it reserves stock for orders and sells or releases it when they are decided,
// and does the same for clients that coordinate by try, confirm and cancel (TCC) over HTTP.
package stock

import (
	"context"
	_ "embed"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/app"
	"github.com/ordeal-chaos/ordeal/services/internal/fate"
)

// Schema creates the tables of the service's database. It is idempotent.
//
//go:embed schema.sql
var Schema string

// Statuses of a reservation. Only RESERVED holds stock; the others are terminal.
const (
	Reserved  = "RESERVED"
	Confirmed = "CONFIRMED" // sold
	Released  = "RELEASED"
	Rejected  = "REJECTED" // there was not enough
	Expired   = "EXPIRED"
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
		Name:     "stock",
		Consumes: func(p services.Parts) []string { return p.Consumes(services.StockService) },
		Schema:   Schema,
		Assemble: assemble,
	}.Run(ctx, getenv, log)
}

type service struct {
	app.Core
	stocks strategy
	orders *fate.Orders
}

func assemble(core app.Core) app.Parts {
	s := &service{Core: core, stocks: strategyOf(core), orders: fate.At(core.Config.OrderURL)}
	return app.Parts{
		Effect: s.ordered,
		Routes: func(mux *http.ServeMux) {
			mux.HandleFunc("GET /api/v1/stocks/{id}", s.getStock)
			if core.Config.Parts.Stock == services.SingleWriter {
				return // whoever reserves over HTTP would be a second one
			}
			mux.HandleFunc("POST /api/v1/stocks", s.postReservation)
			mux.HandleFunc("PUT /api/v1/stocks/{id}", s.putReservation)
			mux.HandleFunc("DELETE /api/v1/stocks/{id}", s.deleteReservation)
			if core.Config.Parts.CoordinatesOverREST() {
				mux.HandleFunc("POST /api/v1/orders/{order}/stock", s.postTry)
				mux.HandleFunc("PUT /api/v1/orders/{order}/stock", s.putConfirm)
				mux.HandleFunc("DELETE /api/v1/orders/{order}/stock", s.deleteTry)
			}
		},
		Loops: append(s.stocks.loops(), app.Loop{Name: "expire reservations", Every: core.Config.SweepInterval, Do: s.expire}),
	}
}
