package ordeal

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/stack"
	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/order"
	"github.com/ordeal-chaos/ordeal/services/payment"
	"github.com/ordeal-chaos/ordeal/services/stock"
)

// What scenarios may need of a system besides its parts and services.
const (
	hasReservations  = "reservations"   // clients may reserve stock over REST
	hasOutbox        = "outbox"         // events go through an outbox table
	hasOrderConsumes = "order-consumes" // the order service is in a consumer group
	hasStockConsumes = "stock-consumes" // the stock service is
	hasSweeper       = "sweeper"        // the design cancels orders that wait too long
)

// assembly is one system in the making.
type assembly struct {
	design services.Design
	config config
}

// assemble describes a design to the harness.
func assemble(design services.Design, options []Option) harness.System {
	a := assembly{design: design}
	for _, option := range options {
		option(&a.config)
	}
	system := harness.System{
		Name: design.Name, Without: a.config.without,
		Services: a.services(), Databases: a.databases(), Topics: a.topics(), Open: a.open(),
		Restock: harness.Statement{Database: "stock", SQL: `
			WITH product AS (
				INSERT INTO stock (product_id, available, reserved, sold, version) VALUES ($1, $2, 0, 0, 1) RETURNING product_id, available
			)
			INSERT INTO stock_ledger (product_id, op, qty) SELECT product_id, 'initial', available FROM product`},
		Longest: orderTTL + 2*time.Second,
		Has:     a.has(), Guarantees: a.guarantees(), Exercises: a.exercises(),
	}
	if a.cached() {
		system.Caches = []harness.Cache{{Name: cacheServer, Count: stock.CountPrefix, Open: stock.IntentsKey}}
	}
	return system
}

// cacheServer is the Redis server of designs that count stock there.
const cacheServer = "redis"

func (a assembly) cached() bool { return a.design.Parts.Stock == services.RedisCounter }

// environment is what every service is told.
func (a assembly) environment(w harness.Wiring) []string {
	without := append(slices.Clone(a.design.Lacks), a.config.without...)
	environment := []string{
		"INSTANCE=" + w.Instance, "HTTP_ADDR=" + w.Listen, "DATABASE_URL=" + w.Postgres,
		"KAFKA_BROKERS=" + strings.Join(w.Brokers, ","),
		"ORDER_TTL=" + orderTTL.String(), "RESERVATION_TTL=" + reservationTTL.String(),
		"PARTS=" + a.design.Parts.String(), "WITHOUT=" + strings.Join(without, ","),
	}
	if a.config.limit > 0 {
		environment = append(environment, "PAYMENT_LIMIT="+strconv.FormatInt(a.config.limit, 10))
	}
	if w.Redis != "" {
		environment = append(environment, "REDIS_ADDR="+w.Redis)
	}
	if a.design.Parts.Stock == services.SingleWriter {
		// While the owner is away, nobody writes: it is given up soon.
		environment = append(environment, "SESSION_TIMEOUT=1s")
	}
	for _, peer := range slices.Sorted(maps.Keys(w.Peers)) {
		environment = append(environment, strings.ToUpper(peer)+"_URL="+w.Peers[peer])
	}
	return environment
}

func (a assembly) services() []harness.Service {
	list := []harness.Service{
		a.service(services.OrderService, "orders", a.config.orders, services.OrderEvents),
		a.service(services.StockService, "stock", a.config.stocks, services.StockEvents),
	}
	if a.paid() {
		payments := a.service(services.PaymentService, "payments", 1, services.PaymentEvents)
		list = append(list, payments)
	}
	return list
}

func (a assembly) paid() bool { return a.design.Parts.Payment == services.Payment }

func (a assembly) service(name, database string, replicas int, produces string) harness.Service {
	parts := a.design.Parts
	s := harness.Service{
		Name: name, Program: "ordeal-" + name, Replicas: replicas, Database: database,
		Consumes: append(parts.Consumes(name), parts.Retries(name)...), Produces: []string{produces}, Calls: parts.Calls(name), Env: a.environment,
	}
	if len(s.Consumes) > 0 {
		s.Group = name
	}
	if a.cached() && name == services.StockService {
		s.Cache = cacheServer
	}
	for _, topic := range parts.Consumes(name) {
		s.Produces = append(s.Produces, services.DeadLetterPrefix+topic)
	}
	s.Produces = append(s.Produces, parts.Retries(name)...)
	return s
}

func (a assembly) databases() []stack.Database {
	list := []stack.Database{{Name: "orders", Schema: order.Schema}, {Name: "stock", Schema: stock.Schema}}
	if a.paid() {
		list = append(list, stack.Database{Name: "payments", Schema: payment.Schema})
	}
	return list
}

func (a assembly) topics() []stack.Topic {
	var list []stack.Topic
	names := []string{services.OrderEvents, services.StockEvents}
	if a.paid() {
		names = append(names, services.PaymentEvents)
	}
	for _, name := range names {
		list = append(list,
			stack.Topic{Name: name, Partitions: a.partitions(name)},
			stack.Topic{Name: services.DeadLetterPrefix + name, Partitions: a.partitions(name)})
		if a.design.Parts.Failures == services.RetryTopics {
			list = append(list, stack.Topic{Name: services.RetryPrefix + name, Partitions: a.partitions(name)})
		}
	}
	return list
}

// partitions of a topic. A single writer owns all stock because all orders come to it over one partition.
func (a assembly) partitions(topic string) int32 {
	if a.design.Parts.Stock == services.SingleWriter && topic == services.OrderEvents {
		return 1
	}
	return partitions
}

func (a assembly) open() []harness.Open {
	list := []harness.Open{
		{What: "orders PENDING", Database: "orders", Count: "SELECT count(*) FROM orders WHERE status = 'PENDING'"},
		{What: "order events not published", Database: "orders", Count: "SELECT count(*) FROM outbox WHERE published_at IS NULL"},
		{What: "reservations open", Database: "stock", Count: "SELECT count(*) FROM reservations WHERE status = 'RESERVED'"},
		{What: "stock events not published", Database: "stock", Count: "SELECT count(*) FROM outbox WHERE published_at IS NULL"},
	}
	if a.design.Parts.CoordinatesOverREST() {
		list = append(list, harness.Open{What: "orders in coordination", Database: "orders", Count: "SELECT count(*) FROM coordinations WHERE step <> 'done'"})
	}
	if a.paid() {
		list = append(list,
			harness.Open{What: "payments held", Database: "payments", Count: "SELECT count(*) FROM payments WHERE status = 'AUTHORIZED'"},
			harness.Open{What: "payment events not published", Database: "payments", Count: "SELECT count(*) FROM outbox WHERE published_at IS NULL"})
	}
	for _, database := range a.databases() {
		switch a.design.Parts.Failures {
		case services.RetryTopics:
			list = append(list, harness.Open{What: "records set aside in " + database.Name, Database: database.Name, Count: "SELECT count(*) FROM parked"})
		case services.Redrive:
			list = append(list, harness.Open{What: "dead letters to replay in " + database.Name, Database: database.Name,
				Count: fmt.Sprintf("SELECT count(*) FROM inbox WHERE outcome = 'dead-lettered' AND replays < %d", services.RedriveRounds)})
		}
	}
	return list
}

// has lists what scenarios may need of the system.
func (a assembly) has() []string {
	parts := a.design.Parts
	has := parts.Names()
	if parts.Stock != services.SingleWriter {
		has = append(has, hasReservations)
	}
	if strings.HasPrefix(parts.Publishing, "outbox-") {
		has = append(has, hasOutbox)
	}
	if len(parts.Consumes(services.OrderService)) > 0 {
		has = append(has, hasOrderConsumes)
	}
	if len(parts.Consumes(services.StockService)) > 0 {
		has = append(has, hasStockConsumes)
	}
	if !slices.Contains(a.design.Lacks, services.Sweeper) {
		has = append(has, hasSweeper)
	}
	return has
}
