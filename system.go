// Package ordeal owns the catalogue: the reference system described to the harness, and the scenarios
// that it must survive. The same catalogue runs from the command line and from go test.
package ordeal

import (
	"fmt"
	"strings"
	"time"

	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/stack"
	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/order"
	"github.com/ordeal-chaos/ordeal/services/stock"
)

// Timers of the reference services under test: short, so that their effects fit into a scenario.
const (
	orderTTL       = 3 * time.Second
	reservationTTL = 1500 * time.Millisecond
)

// partitions of each topic.
const partitions = 6

// Programs are the reference services, for [harness.Main].
func Programs() []stack.Program {
	return []stack.Program{
		{Name: "ordeal-order", Main: order.Main},
		{Name: "ordeal-stock", Main: stock.Main},
	}
}

// Sound is the reference system in the sound design: outbox, inbox, conditional update, compare-and-set
// transitions, sweeper, dead letters and idempotency keys. Options change it.
func Sound(options ...Option) harness.System {
	c := config{}
	for _, option := range options {
		option(&c)
	}
	timers := []string{
		"ORDER_TTL=" + orderTTL.String(),
		"RESERVATION_TTL=" + reservationTTL.String(),
		"WITHOUT=" + strings.Join(c.without, ","),
	}
	environment := func(w harness.Wiring, more ...string) []string {
		return append(append([]string{
			"INSTANCE=" + w.Instance, "HTTP_ADDR=" + w.Listen, "DATABASE_URL=" + w.Postgres,
			"KAFKA_BROKERS=" + strings.Join(w.Brokers, ","),
		}, timers...), more...)
	}
	return harness.System{
		Name:    services.Design,
		Without: c.without,
		Services: []harness.Service{
			{
				Name: "order", Program: "ordeal-order", Replicas: c.orders, Database: "orders",
				Group: "order", Consumes: []string{"stock-events"}, Produces: []string{"order-events", "dlt-stock-events"},
				Calls: []string{"stock"},
				Env: func(w harness.Wiring) []string {
					return environment(w, "STOCK_URL="+w.Peers["stock"])
				},
			},
			{
				Name: "stock", Program: "ordeal-stock", Replicas: c.stocks, Database: "stock",
				Group: "stock", Consumes: []string{"order-events"}, Produces: []string{"stock-events", "dlt-order-events"},
				Env: func(w harness.Wiring) []string { return environment(w) },
			},
		},
		Databases: []stack.Database{{Name: "orders", Schema: order.Schema}, {Name: "stock", Schema: stock.Schema}},
		Topics: []stack.Topic{
			{Name: "order-events", Partitions: partitions}, {Name: "stock-events", Partitions: partitions},
			{Name: "dlt-order-events", Partitions: partitions}, {Name: "dlt-stock-events", Partitions: partitions},
		},
		Open: []harness.Open{
			{What: "orders PENDING", Database: "orders", Count: "SELECT count(*) FROM orders WHERE status = 'PENDING'"},
			{What: "order events not published", Database: "orders", Count: "SELECT count(*) FROM outbox WHERE published_at IS NULL"},
			{What: "reservations open", Database: "stock", Count: "SELECT count(*) FROM reservations WHERE status = 'RESERVED'"},
			{What: "stock events not published", Database: "stock", Count: "SELECT count(*) FROM outbox WHERE published_at IS NULL"},
		},
		Restock: harness.Statement{Database: "stock", SQL: `
			WITH product AS (
				INSERT INTO stock (product_id, available, reserved, sold, version) VALUES ($1, $2, 0, 0, 1) RETURNING product_id, available
			)
			INSERT INTO stock_ledger (product_id, op, qty) SELECT product_id, 'initial', available FROM product`},
		Longest: orderTTL + 2*time.Second,
	}
}

// Option changes the reference system.
type Option func(*config)

type config struct {
	without        []string
	orders, stocks int
}

// Without removes guards, to plant a bug. Names are those of [services.Guards].
func Without(guards ...string) Option { return func(c *config) { c.without = guards } }

// StockReplicas runs the stock service as so many processes.
func StockReplicas(n int) Option { return func(c *config) { c.stocks = n } }

// OrderReplicas runs the order service as so many processes; clients talk to the first.
func OrderReplicas(n int) Option { return func(c *config) { c.orders = n } }

// Design makes the system of a named design without some of its guards. Unknown names are an error
// that wraps [harness.ErrUsage] and lists the nearest.
func Design(name string, without []string) (func(...Option) harness.System, error) {
	if name != services.Design {
		return nil, fmt.Errorf("%w: no design %q; there is: %s", harness.ErrUsage, name, services.Design)
	}
	if _, err := services.ParseGuards(strings.Join(without, ",")); err != nil {
		return nil, fmt.Errorf("%w: %w", harness.ErrUsage, err)
	}
	return func(options ...Option) harness.System {
		return Sound(append(options, Without(without...))...)
	}, nil
}
