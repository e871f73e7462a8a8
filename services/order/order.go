// Package order owns the order service: it places orders, announces them, and decides each one once, on the answer
// of the stock service, on a client's cancellation or on its age.
package order

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
)

// Schema creates the tables of the service's database. It is idempotent.
//
//go:embed schema.sql
var Schema string

// Statuses of an order. The last two are terminal.
const (
	Pending   = "PENDING"
	Confirmed = "CONFIRMED"
	Cancelled = "CANCELLED"
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
		Name:     "order",
		Consumes: func(p services.Parts) []string { return p.Consumes(services.OrderService) },
		Schema:   Schema,
		Assemble: assemble,
	}.Run(ctx, getenv, log)
}

type service struct {
	app.Core
	products *products
	placed   chan string // orders to coordinate
}

func assemble(core app.Core) app.Parts {
	s := &service{
		Core: core, products: newProducts(core.Config.StockURL, core.Config.ProductCacheTTL), placed: make(chan string, workers),
	}
	core.Publisher.Undo = s.undo
	parts := app.Parts{
		Effect: s.answered,
		Routes: func(mux *http.ServeMux) {
			mux.HandleFunc("POST /api/v1/orders", s.postOrder)
			mux.HandleFunc("GET /api/v1/orders/{id}", s.getOrder)
			mux.HandleFunc("DELETE /api/v1/orders/{id}", s.deleteOrder)
		},
		Loops: s.loops(),
	}
	if core.Config.Parts.CoordinatesOverREST() {
		parts.Background = s.coordinate
	}
	return parts
}
