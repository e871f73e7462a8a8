package harness

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/link"
	"github.com/ordeal-chaos/ordeal/harness/stack"
)

// Fault breaks one thing, and can tell whether it did. Values are immutable: one value may be used in
// many scenarios at once.
type Fault interface {
	// Name is the fault's kind, "latency".
	Name() string
	// Target is the link, process or topic that it breaks, "order->postgres".
	Target() string
	// Validate says what the topology lacks for it, before anything starts.
	Validate(Topology) error
	// Prepare begins to measure, and breaks nothing yet.
	Prepare(*Env) Injection
}

// Injection is one use of a fault.
type Injection interface {
	// Inject breaks the thing. It is called at most once.
	Inject(context.Context) error
	// Heal undoes it. It is called exactly once after Inject, also after an Inject that failed, and
	// with a context of its own.
	Heal(context.Context) error
	// Evidence tells what was measured since Prepare. It is called any number of times before Heal.
	// Without Inject it must report no bite: a test runs both.
	Evidence() Evidence
}

// Evidence is the effect of a fault, as measured.
type Evidence struct {
	// Bit says that there was one.
	Bit bool
	// Effect says what was measured, with figures.
	Effect string
}

// Env is the running experiment as faults see it.
type Env struct {
	Topology Topology

	links    map[string]*link.Link
	nodes    map[string]stack.Node
	stack    *stack.Environment
	recorder *history.Recorder
	log      *eventLog
	traffic  *traffic
	random   *rand.Rand
	reviving sync.Mutex
}

// Links returns the links that pattern names; Validate has made sure that there is one.
func (e *Env) Links(pattern string) []*link.Link {
	var found []*link.Link
	for _, name := range e.Topology.Match(pattern) {
		found = append(found, e.links[name])
	}
	return found
}

// Node returns the process of that name, or nil.
func (e *Env) Node(name string) stack.Node { return e.nodes[name] }

// Revive starts the processes that do not run, all at once: a broker is ready only when most of its cluster is. Two
// faults may have ended the same process: the first to heal starts it.
func (e *Env) Revive(ctx context.Context, nodes []stack.Node) error {
	e.reviving.Lock()
	defer e.reviving.Unlock()
	var group errgroup.Group
	if !e.Topology.BrokersApart {
		group.SetLimit(1) // where all brokers are one process, the first to start is all of them
	}
	for _, node := range nodes {
		group.Go(func() error {
			if node.Alive() {
				return nil
			}
			return node.Start(ctx)
		})
	}
	return group.Wait()
}

// Replicas returns the processes of a service.
func (e *Env) Replicas(service string) []stack.Node {
	var found []stack.Node
	for _, name := range e.Topology.Replicas[service] {
		found = append(found, e.nodes[name])
	}
	return found
}

// Brokers returns the processes of the Kafka cluster.
func (e *Env) Brokers() []stack.Node {
	var found []stack.Node
	for _, broker := range e.stack.Brokers() {
		found = append(found, broker)
	}
	return found
}

// ApplicationName is the application_name of the connections of [Env.Connect].
const ApplicationName = "ordeal"

// Connect opens an observer's connection to a database, which crosses no link.
func (e *Env) Connect(ctx context.Context, database string) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(e.stack.Postgres(database).DSN(database))
	if err != nil {
		return nil, fmt.Errorf("parse address of database %s: %w", database, err)
	}
	config.DialFunc = e.stack.ObserverDial
	config.RuntimeParams["application_name"] = ApplicationName
	connection, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to database %s: %w", database, err)
	}
	return connection, nil
}

// Kafka opens an observer's client to the brokers, which crosses no link.
func (e *Env) Kafka(options ...kgo.Opt) (*kgo.Client, error) {
	var seeds []string
	for _, broker := range e.stack.Brokers() {
		seeds = append(seeds, broker.Addr())
	}
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(seeds...),
		kgo.Dialer(e.stack.KafkaDialer()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
	}, options...)...)
	if err != nil {
		return nil, fmt.Errorf("make Kafka client: %w", err)
	}
	return client, nil
}

// Since returns a function that lists the process and wire events recorded after this call.
func (e *Env) Since() func() []history.Event {
	from := e.log.len()
	return func() []history.Event { return e.log.from(from) }
}

// Log lists all process and wire events recorded until now.
func (e *Env) Log() []history.Event { return e.log.from(0) }

// Overlapping returns a function that counts the client operations that were in flight at some moment
// after this call.
func (e *Env) Overlapping() func() int { return e.traffic.overlapping() }

// IntN returns a number in [0, n), from the schedule's own seeded source.
func (e *Env) IntN(n int) int { return e.random.IntN(n) }

// Await polls until done says so, or the context ends; the error then says what was awaited and what
// was seen last.
func Await(ctx context.Context, what string, done func(context.Context) (bool, string, error)) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	seen := "nothing"
	for {
		ok, now, err := done(ctx)
		if err == nil && ok {
			return nil
		}
		if now != "" {
			seen = now
		}
		if err != nil {
			seen = err.Error()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("await %s: %w; last seen: %s", what, ctx.Err(), seen)
		case <-ticker.C:
		}
	}
}

// eventLog keeps the process and wire events of a run in memory, for evidence and triggers.
type eventLog struct {
	mu     sync.Mutex
	events []history.Event
}

func (l *eventLog) add(e history.Event) {
	if e.Process == nil && e.Wire == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

func (l *eventLog) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.events)
}

func (l *eventLog) from(index int) []history.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.events[index:])
}
