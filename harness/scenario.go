package harness

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ordeal-chaos/ordeal/harness/check"
	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/stack"
)

// Scenario is one experiment, as data: a system, the traffic it gets, the faults it suffers, and the
// guarantees it must keep. Name and System are required; every other field has a usable zero value.
type Scenario struct {
	Name string
	// About says in one sentence what the scenario shows.
	About    string
	System   System
	Workload Checkout
	Faults   Schedule
	// Guarantees to judge; nil means those of the System.
	Guarantees []check.Guarantee
	// Exercises names the guarantees that must have examined at least one subject, or the run is
	// unknown, besides those that any run of the System exercises.
	Exercises []string
	// Needs names what the System must have (System.Has); "a|b" is one of the two.
	Needs []string
	// Exposes names the guards whose removal this scenario makes visible. Run with one of them
	// removed, it goes first.
	Exposes []string
	// SeparatePostgres gives each database a server of its own ("postgres-order"), so that one can
	// crash alone. Else all share "postgres".
	SeparatePostgres bool
	// Brokers is 3 where the scenario needs three brokers, each a machine of its own; 0 where it runs on
	// whatever the [Runner] has.
	Brokers int
	// Test is the name of the go test that runs this, t.Name(), for the command that repeats it. [Run]
	// finds the name of the test function by itself, but not that of a subtest.
	Test string
	// Drain is the deadline, counted from heal, for all work to end; 0 means 20 s.
	Drain time.Duration
}

// System is what is tested: services, their databases and topics, and how to see that they are idle.
type System struct {
	// Name of the design, for reports: "sound".
	Name string
	// Without lists the guards that were removed from the design.
	Without  []string
	Services []Service
	// Databases that the services use. Each is created with its schema before the first row is
	// written, so that the write-ahead log tap misses none.
	Databases []stack.Database
	Topics    []stack.Topic
	// Caches are Redis servers in which services keep counts beside their databases.
	Caches []Cache
	// Open counts unfinished work; all zero (with consumer lag zero) means quiescent.
	Open []Open
	// Restock is the statement that gives a SKU ($1, text) its initial stock ($2, bigint).
	Restock Statement
	// Longest is the longest timer configured in the services. A system that shows no activity for
	// longer while work is open is stuck. 0 means 5 s.
	Longest time.Duration
	// Guarantees that the system is judged by; nil means [check.OrderAndStock].
	Guarantees []check.Guarantee
	// Exercises names the guarantees that any run with a confirmed order exercises, in this system; nil
	// means [EveryRun].
	Exercises []string
	// Has names what scenarios may need: parts of the design, and what its clients can do.
	Has []string
}

// Service is one program of the system, run in one or more replicas as child processes.
type Service struct {
	Name string // "order"; replicas are "order", or "order-1", "order-2" when there are several
	// Command is the program and its arguments. Instead, Program may name a program given to [Main].
	Command []string
	Program string
	// Replicas is the number of processes; 0 means 1.
	Replicas int
	Database string   // the database it uses, one of System.Databases; may be empty
	Cache    string   // the cache it uses, one of System.Caches; may be empty
	Group    string   // its consumer group; may be empty
	Consumes []string // topics its group reads
	Produces []string // topics it writes
	Calls    []string // services it calls over HTTP, each through a link of its own
	// Env turns the addresses of a replica's links into its environment, "NAME=value" each. Nil adds
	// nothing to the harness's own environment.
	Env func(Wiring) []string
	// Ready is the path that answers 200 when the service can work; "" means "/ready".
	Ready string
	// ReadyTimeout is how long each start may take until then; 0 means 20 s.
	ReadyTimeout time.Duration
}

// Wiring is what one replica must know: where to listen, and the addresses of its own links.
type Wiring struct {
	Instance string // "stock-2"
	Listen   string // host:port to serve HTTP on
	Postgres string // connection URL of its database, through its link
	Redis    string // address of its cache, through its link
	Brokers  []string
	Peers    map[string]string // service it calls → base URL
}

// Cache is a Redis server, and what services keep in it.
type Cache struct {
	Name  string // of the server: "redis"
	Count string // key of a SKU's count of available units, without the SKU: "available:"
	Open  string // key of a hash with a field for each change under way; it is empty when the system is idle
}

// Open is a query that counts unfinished work in one database.
type Open struct {
	What     string // "orders PENDING"
	Database string
	Count    string // SELECT count(*) …
}

// Statement is an SQL statement for one database.
type Statement struct {
	Database string
	SQL      string
}

// EveryRun lists the guarantees that every run with a confirmed order exercises.
var EveryRun = []string{
	"stock-never-negative", "stock-conserved", "confirmed-orders-deducted-once", "legal-transitions", "orders-end",
	"effects-at-most-once", "no-phantom-event", "no-lost-event", "consumed-records-handled", "acknowledged-is-durable",
	"acknowledged-records-survive", "per-key-order", "converges", "answers-hold", "events-match-rows", "log-sound",
	"published-after-commit", "serves-again", "services-stay-up", "effects-with-inbox", "offset-after-effects",
	"payments-match-orders", "charged-once",
}

// Price is what one unit of any product costs in a [Checkout].
const Price = 100

// Checkout is the workload: clients that place orders, some cancelled, and, if asked, reserve stock
// over REST. It starts before the faults and goes on until they are healed.
type Checkout struct {
	// Orders is the least number of orders to place; traffic goes on while faults last. 0 means 60.
	Orders int
	// Rate is orders a second, offered whether or not earlier ones were answered; 0 means 30.
	Rate float64
	// Clients is the largest number of orders in flight; 0 means 24.
	Clients int
	// Lines of an order; 0 means 2.
	Lines int
	// SKUs is the number of products; 0 means 8.
	SKUs int
	// Stock is the initial stock of each SKU; 0 means 1,000,000.
	Stock int64
	// MaxQty is the largest quantity of a line; 0 means 3.
	MaxQty int64
	// Cancels is the share of orders that their client cancels at once, 0 to 1.
	Cancels float64
	// Reservations is the share of operations that reserve over REST and then confirm, cancel or
	// abandon, 0 to 1.
	Reservations float64
	// LateCancels is the share of confirmed reservations that their client cancels afterwards, when it is too late, 0 to 1.
	LateCancels float64
	// ServerIDs lets the service choose order ids, so that a retry is recognised by its idempotency
	// key alone.
	ServerIDs bool
	// OmitOrder leaves the order id out of retries, for the same reason.
	OmitOrder bool
	// NoKeepAlive closes the client's connection after each answer.
	NoKeepAlive bool
}

func (c Checkout) withDefaults() Checkout {
	set := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	set(&c.Orders, 60)
	set(&c.Clients, 24)
	set(&c.Lines, 2)
	set(&c.SKUs, 8)
	if c.Rate == 0 {
		c.Rate = 30
	}
	if c.Stock == 0 {
		c.Stock = 1_000_000
	}
	if c.MaxQty == 0 {
		c.MaxQty = 3
	}
	return c
}

func (s Scenario) withDefaults() Scenario {
	s.Workload = s.Workload.withDefaults()
	if s.Guarantees == nil {
		s.Guarantees = s.System.Guarantees
	}
	if s.Guarantees == nil {
		s.Guarantees = check.OrderAndStock
	}
	every := s.System.Exercises
	if every == nil {
		every = EveryRun
	}
	var exercises []string
	for _, g := range s.Guarantees {
		if slices.Contains(every, g.Name) && !slices.Contains(s.Exercises, g.Name) {
			exercises = append(exercises, g.Name)
		}
	}
	s.Exercises = append(exercises, s.Exercises...)
	if s.Drain == 0 {
		s.Drain = 20 * time.Second
	}
	if s.System.Longest == 0 {
		s.System.Longest = 5 * time.Second
	}
	return s
}

// Fits says whether a backend with these capabilities has what the scenario needs, on so many brokers.
// What it needs of its System, Lacks says.
func (s Scenario) Fits(on stack.Capabilities, brokers int) bool {
	return s.Brokers <= 1 || s.Brokers <= brokers && on.BrokersApart
}

// Lacks lists what the scenario needs and its system does not have.
func (s Scenario) Lacks() []string {
	var lacks []string
	for _, need := range s.Needs {
		has := func(one string) bool { return slices.Contains(s.System.Has, one) }
		if !slices.ContainsFunc(strings.Split(need, "|"), has) {
			lacks = append(lacks, strings.ReplaceAll(need, "|", " or "))
		}
	}
	return lacks
}

// Validate says what is wrong with the scenario, before anything starts. It depends on what the backend
// can break and on the number of brokers, 0 meaning 1. The error wraps [ErrUsage].
func (s Scenario) Validate(on stack.Capabilities, brokers int) error {
	s, brokers = s.withDefaults(), max(brokers, 1)
	var problems []error
	add := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	switch {
	case s.Brokers != 0 && s.Brokers != 3:
		add("it needs %d brokers; there can be three, or 0 for any number", s.Brokers)
	case !s.Fits(on, brokers):
		// Its faults would say the same, one by one.
		return fmt.Errorf("%w: scenario %q %w", ErrUsage, s.Name, errNeedsThree)
	}
	if s.Name == "" {
		add("it has no name")
	}
	if lacks := s.Lacks(); len(lacks) > 0 {
		// Its faults would say the same, one by one.
		return fmt.Errorf("%w: scenario %q needs %s, which design %s does not have", ErrUsage, s.Name, strings.Join(lacks, " and "), s.System.Name)
	}
	if len(s.System.Services) == 0 {
		add("its system has no services")
	}
	topics := map[string]bool{}
	for _, topic := range s.System.Topics {
		topics[topic.Name] = true
	}
	if s.Workload.Lines > s.Workload.SKUs {
		add("an order of %d lines needs as many SKUs, not %d", s.Workload.Lines, s.Workload.SKUs)
	}
	databases := map[string]bool{}
	for _, d := range s.System.Databases {
		databases[d.Name] = true
	}
	for _, service := range s.System.Services {
		switch {
		case service.Name == "":
			add("a service has no name")
		case len(service.Command) == 0 && service.Program == "":
			add("service %s has no command", service.Name)
		case service.Database != "" && !databases[service.Database]:
			add("service %s uses database %q, which the system does not list", service.Name, service.Database)
		}
		for _, topic := range append(slices.Clone(service.Consumes), service.Produces...) {
			if !topics[topic] {
				add("service %s uses topic %q, which the system does not list", service.Name, topic)
			}
		}
		uses := func(c Cache) bool { return c.Name == service.Cache }
		if service.Cache != "" && !slices.ContainsFunc(s.System.Caches, uses) {
			add("service %s uses cache %q, which the system does not list", service.Name, service.Cache)
		}
		if len(service.Consumes) > 0 && service.Group == "" {
			add("service %s consumes topics in no consumer group", service.Name)
		}
		for _, peer := range service.Calls {
			if !slices.ContainsFunc(s.System.Services, func(other Service) bool { return other.Name == peer }) {
				add("service %s calls %q, which is no service of the system", service.Name, peer)
			}
		}
	}
	for _, open := range s.System.Open {
		if !databases[open.Database] {
			add("%q is counted in database %q, which the system does not list", open.What, open.Database)
		}
	}
	if restock := s.System.Restock; restock.SQL != "" && !databases[restock.Database] {
		add("stock is set in database %q, which the system does not list", restock.Database)
	}
	known := map[string]bool{}
	for _, g := range append(slices.Clone(s.Guarantees), check.Evidence...) {
		known[g.Name] = true
		if g.Check == nil {
			add("there is no guarantee %q", g.Name)
		}
	}
	for _, name := range s.Exercises {
		if !known[name] {
			add("it must exercise guarantee %q, which it does not judge", name)
		}
	}
	topology := s.topology(on, brokers)
	for _, step := range s.Faults {
		problems = append(problems, step.validate(topology)...)
	}
	if len(problems) > 0 {
		return fmt.Errorf("%w: scenario %q: %w", ErrUsage, s.Name, errors.Join(problems...))
	}
	return nil
}

func (s Scenario) guaranteeNames() []string {
	var names []string
	for _, g := range s.Guarantees {
		names = append(names, g.Name)
	}
	return names
}

func (s System) historyServices() []history.Service {
	var list []history.Service
	for _, service := range s.Services {
		list = append(list, history.Service{
			Name: service.Name, Database: service.Database, Group: service.Group,
			Consumes: service.Consumes, Produces: service.Produces,
		})
	}
	return list
}

// ErrUsage marks a mistake of the caller: an unknown name, a contradiction. Nothing was started.
var ErrUsage = errors.New("usage")
