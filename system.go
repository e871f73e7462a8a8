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
	"github.com/ordeal-chaos/ordeal/services/payment"
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
		{Name: "ordeal-payment", Main: payment.Main},
	}
}

// Sound is the reference system in the sound design: outbox, inbox, conditional update, compare-and-set
// transitions, sweeper, dead letters and idempotency keys. Options change it.
func Sound(options ...Option) harness.System {
	design, err := services.FindDesign(services.Sound)
	if err != nil {
		panic(err) // it is always there
	}
	return assemble(design, options)
}

// Design makes the system of a design, by its name or by its parts joined by +, without some of its guards. Unknown names,
// parts that contradict each other, and guards that the design does not have are errors that wrap [harness.ErrUsage].
func Design(name string, without []string) (func(...Option) harness.System, error) {
	design, err := services.FindDesign(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", harness.ErrUsage, err)
	}
	removed, err := design.Remove(strings.Join(without, ","))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", harness.ErrUsage, err)
	}
	return func(options ...Option) harness.System {
		return assemble(design, append(options, Without(removed...)))
	}, nil
}

// Option changes the reference system.
type Option func(*config)

type config struct {
	without        []string
	orders, stocks int
	limit          int64
}

// Without removes guards, to plant a bug. Names are those of [services.Guards].
func Without(guards ...string) Option { return func(c *config) { c.without = guards } }

// StockReplicas runs the stock service as so many processes.
func StockReplicas(n int) Option { return func(c *config) { c.stocks = n } }

// PaymentLimit makes the payment service decline charges above limit, where there is one.
func PaymentLimit(limit int64) Option { return func(c *config) { c.limit = limit } }

// OrderReplicas runs the order service as so many processes; clients talk to the first.
func OrderReplicas(n int) Option { return func(c *config) { c.orders = n } }
