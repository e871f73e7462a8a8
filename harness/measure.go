package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/ordeal-chaos/ordeal/harness/price"
	"github.com/ordeal-chaos/ordeal/harness/stack"
)

// Price measures what the system costs without a fault, for which it should be alone on the machine: no links and
// no taps, and tables with the replica identity that they would have without an observer. Each of the plan's
// two loads gets an environment of its own. The logs of one that failed stay in a folder below Out.
func (r *Runner) Price(ctx context.Context, system System, plan price.Plan) (price.Figures, error) {
	var figures price.Figures
	pace, burst := plan.Loads()
	var err error
	if figures.Paced, err = r.measure(ctx, system, "paced", pace); err != nil {
		return figures, err
	}
	figures.Saturated, err = r.measure(ctx, system, "saturated", burst)
	return figures, err
}

// ordersDatabase is where orders are confirmed.
const ordersDatabase = "orders"

func (r *Runner) measure(ctx context.Context, system System, name string, load price.Load) (phase price.Phase, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("measure %s, %s: %w", system.Name, name, err)
		}
	}()
	system.Databases = slices.Clone(system.Databases)
	for i := range system.Databases {
		system.Databases[i].DefaultIdentity = true
	}
	scenario := Scenario{Name: "price-" + name, System: system, Workload: Checkout{SKUs: load.SKUs}}.withDefaults()
	if err := r.Validate(scenario); err != nil {
		return phase, err
	}
	direct := Runner{Backend: r.Backend, Brokers: r.Brokers, Direct: true}
	x := &experiment{
		runner: &direct, scenario: scenario, topology: scenario.topology(r.capabilities(), r.brokers()),
		dir: filepath.Join(r.Out, "price", system.Name, name), began: time.Now(), log: &eventLog{},
	}
	if err := os.MkdirAll(x.dir, 0o755); err != nil {
		return phase, fmt.Errorf("make run folder: %w", err)
	}
	defer func() {
		if err = errors.Join(err, x.close()); err == nil {
			err = os.RemoveAll(x.dir)
		}
	}()
	x.stack, err = r.Backend.New(ctx, stack.Options{
		Dir: x.dir, Databases: system.Databases, Brokers: len(x.topology.Brokers), Topics: system.Topics, Caches: system.cacheNames(), Direct: true,
	})
	if err != nil {
		return phase, fmt.Errorf("%w: start stack: %w", ErrStack, err)
	}
	if err := x.restock(ctx); err != nil {
		return phase, fmt.Errorf("%w: %w", ErrStack, err)
	}
	return x.meter(ctx, load)
}

// meter starts the services between two readings of the counters.
func (x *experiment) meter(ctx context.Context, load price.Load) (price.Phase, error) {
	target := price.Target{
		Topics: x.topicNames(), Longest: x.scenario.System.Longest, Maintenance: stack.Superuser, Connect: x.connectDirectly,
		Orders: ordersDatabase, Slot: stack.SlotName(ordersDatabase), Publication: stack.Publication,
	}
	for _, database := range x.scenario.System.Databases {
		target.Databases = append(target.Databases, database.Name)
	}
	for _, open := range x.scenario.System.Open {
		target.Open = append(target.Open, price.Query(open))
	}
	admin, err := (&Env{stack: x.stack}).Admin()
	if err != nil {
		return price.Phase{}, err
	}
	defer admin.Close()
	target.Kafka = admin
	meter, err := price.Begin(ctx, target)
	if err != nil {
		return price.Phase{}, err
	}
	if err := x.wire(ctx); err != nil {
		return price.Phase{}, err
	}
	first := x.scenario.System.Services[0].replicas()[0]
	phase, err := meter.Measure(ctx, "http://"+x.ports[first].Addr(), load, x.stopServices)
	if err != nil {
		return phase, fmt.Errorf("%w%s", err, x.lastLogs())
	}
	return phase, nil
}

func (x *experiment) stopServices(ctx context.Context) error {
	var group errgroup.Group
	for _, service := range x.services {
		group.Go(func() error { return service.Terminate(ctx) })
	}
	return group.Wait()
}

// connectDirectly opens a connection to a database of the one server.
func (x *experiment) connectDirectly(ctx context.Context, database string) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(x.stack.PostgresServers()[0].DSN(database))
	if err != nil {
		return nil, fmt.Errorf("parse address of database %s: %w", database, err)
	}
	config.DialFunc = x.stack.ObserverDial
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to database %s: %w", database, err)
	}
	return conn, nil
}
