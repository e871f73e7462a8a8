package harness

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/link"
	"github.com/ordeal-chaos/ordeal/harness/observe"
	"github.com/ordeal-chaos/ordeal/harness/stack"
	"github.com/ordeal-chaos/ordeal/harness/wire"
)

// observeAll starts a tap on every database's log and on every topic, before anything is written.
func (x *experiment) observeAll(ctx context.Context) error {
	for _, d := range x.scenario.System.Databases {
		tap, err := observe.TapWAL(ctx, observe.WALConfig{
			DSN: x.stack.Postgres(d.Name).DSN(d.Name), Database: d.Name,
			Slot: stack.SlotName(d.Name), Publication: stack.Publication,
			Dial: x.stack.ObserverDial, Recorder: x.recorder,
		})
		if err != nil {
			return fmt.Errorf("tap database %s: %w", d.Name, err)
		}
		x.wal = append(x.wal, tap)
	}
	if len(x.scenario.System.Topics) == 0 {
		return nil
	}
	topics, err := observe.TapTopics(ctx, observe.TopicConfig{
		Brokers: x.brokerAddresses(), Dial: x.stack.KafkaDialer(), Topics: x.topicNames(), Recorder: x.recorder,
	})
	if err != nil {
		return err // which says what it could not tap
	}
	x.topics = topics
	return nil
}

func (x *experiment) brokerAddresses() []string {
	var addresses []string
	for _, broker := range x.stack.Brokers() {
		addresses = append(addresses, broker.Addr())
	}
	return addresses
}

func (x *experiment) topicNames() []string {
	var names []string
	for _, topic := range x.scenario.System.Topics {
		names = append(names, topic.Name)
	}
	return names
}

// restock gives every SKU its initial stock, through a direct connection.
func (x *experiment) restock(ctx context.Context) error {
	restock := x.scenario.System.Restock
	if restock.SQL == "" {
		return nil
	}
	connection, err := x.connect(ctx, restock.Database)
	if err != nil {
		return err
	}
	defer connection.Close(context.WithoutCancel(ctx))
	batch := &pgx.Batch{}
	for i := range x.scenario.Workload.SKUs {
		batch.Queue(restock.SQL, skuName(i), x.scenario.Workload.Stock)
	}
	if err := connection.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("give SKUs their initial stock: %w", err)
	}
	return nil
}

func (x *experiment) connect(ctx context.Context, database string) (*pgx.Conn, error) {
	return (&Env{stack: x.stack}).Connect(ctx, database)
}

// wire opens every link, then starts every service behind its own links, then the clients.
func (x *experiment) wire(ctx context.Context) error {
	x.links, x.nodes, x.learnt = map[string]*link.Link{}, map[string]stack.Node{}, &wire.Topics{}
	for _, server := range x.stack.PostgresServers() {
		x.nodes[server.Name()] = server
	}
	for _, broker := range x.stack.Brokers() {
		x.nodes[broker.Name()] = broker
	}
	for _, cache := range x.stack.Caches() {
		x.nodes[cache.Name()] = cache
	}
	ports := map[string]*stack.Port{}
	for _, service := range x.scenario.System.Services {
		for _, replica := range service.replicas() {
			port, err := x.stack.ReservePort(replica)
			if err != nil {
				return fmt.Errorf("reserve port for %s: %w", replica, err)
			}
			ports[replica] = port
			if err := x.link("client", replica, wire.HTTP, port.Addr(), nil); err != nil {
				return err
			}
		}
	}
	// All links before any service: a running link looks up its replica's others.
	var starts []func() error
	for _, service := range x.scenario.System.Services {
		for _, replica := range service.replicas() {
			wiring, err := x.wireReplica(service, replica, ports)
			if err != nil {
				return err
			}
			starts = append(starts, func() error { return x.startReplica(ctx, service, wiring, ports[replica]) })
		}
	}
	var group errgroup.Group
	for _, start := range starts {
		group.Go(start)
	}
	if err := group.Wait(); err != nil {
		return err
	}
	x.traffic = newTraffic(x.scenario.Workload, x.client(0, ports), x.client(1, ports), x.random("workload"))
	return nil
}

// wireReplica opens the links of one replica.
func (x *experiment) wireReplica(service Service, replica string, ports map[string]*stack.Port) (Wiring, error) {
	wiring := Wiring{Instance: replica, Listen: ports[replica].Listen(), Peers: map[string]string{}}
	if service.Database != "" {
		server := x.stack.Postgres(service.Database)
		if err := x.link(replica, server.Name(), wire.Postgres, server.Addr(), nil); err != nil {
			return wiring, err
		}
		var err error
		if wiring.Postgres, err = through(server.DSN(service.Database), x.address(replica, server.Name(), server.Addr())); err != nil {
			return wiring, err
		}
	}
	if cache := x.cache(service.Cache); cache != nil {
		if err := x.link(replica, cache.Name(), wire.Raw, cache.Addr(), nil); err != nil {
			return wiring, err
		}
		wiring.Redis = x.address(replica, cache.Name(), cache.Addr())
	}
	brokers := x.stack.Brokers()
	own := map[int32]string{} // broker id → the broker
	for _, broker := range brokers {
		own[broker.NodeID()] = broker.Name()
	}
	for _, broker := range brokers {
		if err := x.link(replica, broker.Name(), wire.Kafka, broker.Addr(), own); err != nil {
			return wiring, err
		}
		wiring.Brokers = append(wiring.Brokers, x.address(replica, broker.Name(), broker.Addr()))
	}
	for _, peer := range service.Calls {
		target := x.topology.Replicas[peer][0]
		if err := x.link(replica, target, wire.HTTP, ports[target].Addr(), nil); err != nil {
			return wiring, err
		}
		wiring.Peers[peer] = "http://" + x.address(replica, target, ports[target].Addr())
	}
	return wiring, nil
}

// startReplica starts one replica behind its links and waits until it is ready.
func (x *experiment) startReplica(ctx context.Context, service Service, wiring Wiring, port *stack.Port) error {
	ready := service.Ready
	if ready == "" {
		ready = "/ready"
	}
	var environment []string
	if service.Env != nil {
		environment = service.Env(wiring)
	}
	process, err := x.stack.StartService(ctx, stack.Spec{
		Name: wiring.Instance, Command: service.Command, Program: service.Program, Env: environment,
		Ports: []*stack.Port{port},
		// The harness asks the service directly: a link under test must not blind it.
		Ready:        x.stack.HTTPReady("http://" + port.Addr() + ready),
		ReadyTimeout: service.ReadyTimeout,
	})
	if process != nil {
		x.mu.Lock()
		x.services = append(x.services, process)
		x.nodes[wiring.Instance] = process
		x.mu.Unlock()
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrService, err) // which says what was started
	}
	return nil
}

// link opens the link of one client process to one server. brokers names the server of each Kafka node that
// the server may name.
func (x *experiment) link(from, to string, protocol wire.Protocol, upstream string, brokers map[int32]string) error {
	if x.runner.Direct {
		return nil
	}
	config := link.Config{
		Name: from + "->" + to, Protocol: protocol, Upstream: upstream, Now: x.recorder.Now, Topics: x.learnt,
		Listen: x.stack.LinkHosts(),
		// Nobody refuses for a container that does not run: to the client it would be a network that loses packets.
		Refused: func() bool { return x.down(to) },
		Record:  func(w history.Wire) { x.recorder.Append(history.Event{Wire: &w}) },
	}
	if brokers != nil {
		// Looked up when a broker names itself: by then all links of the replica are open.
		config.Broker = func(node int32) (string, bool) {
			broker, ok := brokers[node]
			return x.address(from, broker, ""), ok
		}
	}
	opened, err := link.Open(config)
	if err != nil {
		return fmt.Errorf("open link %s: %w", config.Name, err)
	}
	x.links[config.Name] = opened
	return nil
}

// address is where a service finds a server: the service's own link to it, or the server itself where there
// are no links.
func (x *experiment) address(from, to, direct string) string {
	if open := x.links[from+"->"+to]; open != nil {
		return open.AddrOn(x.stack.ServiceHost())
	}
	return direct
}

// down says whether the process was started and does not run.
func (x *experiment) down(name string) bool {
	x.mu.Lock()
	node := x.nodes[name]
	x.mu.Unlock()
	return node != nil && !node.Alive()
}

// through is the connection URL with another address.
func through(dsn, host string) (string, error) {
	address, err := url.Parse(dsn)
	if err != nil {
		return "", fmt.Errorf("parse connection URL: %w", err)
	}
	address.Host = host
	return address.String(), nil
}

// client makes the workload's client of the n-th service, or nil when there is none.
func (x *experiment) client(n int, ports map[string]*stack.Port) *observe.Client {
	if n >= len(x.scenario.System.Services) {
		return nil
	}
	server := x.scenario.System.Services[n].replicas()[0]
	name, address := "client->"+server, ports[server].Addr()
	if link := x.links[name]; link != nil {
		address = link.Addr()
	}
	return observe.NewClient(observe.ClientConfig{
		Link: name, URL: "http://" + address, Recorder: x.recorder, NoKeepAlive: x.scenario.Workload.NoKeepAlive,
	})
}

// addresses lists how to reach what runs, for people.
func (x *experiment) addresses() []string {
	var lines []string
	for _, d := range x.scenario.System.Databases {
		lines = append(lines, fmt.Sprintf("database %s: %s", d.Name, x.stack.Postgres(d.Name).PublishedDSN(d.Name)))
	}
	for _, broker := range x.stack.Brokers() {
		lines = append(lines, fmt.Sprintf("broker %s: %s (it advertises a dead address: clients use a link below)", broker.Name(), broker.PublishedAddr()))
	}
	for _, cache := range x.stack.Caches() {
		lines = append(lines, fmt.Sprintf("cache %s: %s", cache.Name(), cache.PublishedAddr()))
	}
	for _, name := range slices.Sorted(maps.Keys(x.links)) {
		lines = append(lines, fmt.Sprintf("link %s: %s", name, x.links[name].Addr()))
	}
	for _, service := range x.services {
		lines = append(lines, fmt.Sprintf("process %s: pid %d", service.Name(), service.PID()))
	}
	return lines
}

// close stops everything, newest first. It is called once, with no context that could cut it short.
func (x *experiment) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), healTimeout)
	defer cancel()
	var errs []error
	if x.traffic != nil {
		x.traffic.close()
	}
	if x.topics != nil {
		errs = append(errs, x.topics.Close())
	}
	for _, tap := range x.wal {
		errs = append(errs, tap.Close())
	}
	if x.stack != nil {
		errs = append(errs, x.stack.Close(ctx))
	}
	for _, open := range x.links {
		errs = append(errs, open.Close())
	}
	return errors.Join(errs...)
}
