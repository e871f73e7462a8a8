package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/loopback"
)

// Environment is one running stack, for one experiment. It is safe for concurrent use.
type Environment struct {
	logs      string
	reaper    *reaper
	observers loopback.Ports
	record    recorder

	servers   []server // what runs beside the services
	postgres  []*Postgres
	databases map[string]*Postgres
	brokers   []*Broker
	caches    []*Cache

	// What differs where the servers are containers; nil, the functions do what child processes need.
	serve       func(Spec) (server, error) // describes a service that is a container
	reserve     func(service string) *Port // where such a service will listen
	isolate     func(ctx context.Context, broker string) error
	rejoin      func(ctx context.Context, broker string) error
	release     func(context.Context) error // gives back what outlives the environment
	linkHosts   []string
	serviceHost string

	mu         sync.Mutex
	contained  map[string]Node // address → a server for which nobody refuses while it does not run
	names      map[string]bool // of servers and services
	ports      []*Port
	services   []server
	dirs       []string // to remove
	unexpected []history.Process
	closed     bool

	closeOnce sync.Once
	closeErr  error
	forget    func(*Environment)
}

// server is a process or container that an environment starts and ends.
type server interface {
	Node
	// retire ends it for good.
	retire(context.Context) error
}

// addServer lists a server, to be started and ended with the environment.
func (e *Environment) addServer(s server) {
	e.servers = append(e.servers, s)
	e.names[s.Name()] = true
}

// addPostgres lists a Postgres server with its databases.
func (e *Environment) addPostgres(s server, addr string, peers peerList, databases []Database) {
	e.addServer(s)
	pg := &Postgres{Node: s, addr: addr, peerList: peers}
	e.postgres = append(e.postgres, pg)
	for _, database := range databases {
		e.databases[database.Name] = pg
	}
}

// start starts all servers and returns when they are ready.
func (e *Environment) start(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, s := range e.servers {
		group.Go(func() error { return s.Start(ctx) })
	}
	return group.Wait()
}

// Postgres returns the server of the database, or nil when there is no such database.
func (e *Environment) Postgres(database string) *Postgres { return e.databases[database] }

// PostgresServers returns every Postgres server: "postgres", or one "postgres-DATABASE" each.
func (e *Environment) PostgresServers() []*Postgres { return slices.Clone(e.postgres) }

// Brokers returns the Kafka brokers, by number.
func (e *Environment) Brokers() []*Broker { return slices.Clone(e.brokers) }

// Caches returns the Redis servers, in the order of the options.
func (e *Environment) Caches() []*Cache { return slices.Clone(e.caches) }

// LogDir is the folder of all logs, in the run folder.
func (e *Environment) LogDir() string { return e.logs }

// Observers are the local ports of every connection made through [Environment.ObserverDial] and
// [Environment.KafkaDialer], the stack's own probes included.
func (e *Environment) Observers() *loopback.Ports { return &e.observers }

// ObserverDial connects to a server directly, past all links, and records the connection's local port
// among [Environment.Observers]. One that does not run refuses at once on every backend.
func (e *Environment) ObserverDial(ctx context.Context, network, addr string) (net.Conn, error) {
	e.mu.Lock()
	server := e.contained[addr]
	e.mu.Unlock()
	if server != nil && !server.Alive() {
		return nil, fmt.Errorf("dial %s at %s: %w", server.Name(), addr, syscall.ECONNREFUSED)
	}
	return e.observers.Dial(ctx, network, addr)
}

// refuses makes observers be refused while the container at the address does not run: there is no host then
// to answer them, and each would wait for as long as it cares to.
func (e *Environment) refuses(addr string, server Node) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.contained == nil {
		e.contained = map[string]Node{}
	}
	e.contained[addr] = server
}

// KafkaDialer is [Environment.ObserverDial] for Kafka clients: it leads the dead addresses that the
// brokers advertise to their real ones.
func (e *Environment) KafkaDialer() func(ctx context.Context, network, addr string) (net.Conn, error) {
	real := make(map[string]string, len(e.brokers))
	for _, broker := range e.brokers {
		real[advertised(broker.node)] = broker.Addr()
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if to, ok := real[addr]; ok {
			addr = to
		}
		return e.ObserverDial(ctx, network, addr)
	}
}

// Isolate cuts a broker from the other brokers; clients still reach it. It wraps [ErrNotApart] where
// brokers are not machines of their own.
func (e *Environment) Isolate(ctx context.Context, broker string) error {
	if e.isolate == nil {
		return fmt.Errorf("isolate %s: %w", broker, ErrNotApart)
	}
	return e.isolate(ctx, broker)
}

// Rejoin undoes Isolate.
func (e *Environment) Rejoin(ctx context.Context, broker string) error {
	if e.rejoin == nil {
		return fmt.Errorf("rejoin %s: %w", broker, ErrNotApart)
	}
	return e.rejoin(ctx, broker)
}

// LinkHosts are the hosts that links must listen on: 127.0.0.1 and, where services are containers, this
// machine's address on their network.
func (e *Environment) LinkHosts() []string { return slices.Clone(e.linkHosts) }

// ServiceHost is the one of LinkHosts under which services reach links.
func (e *Environment) ServiceHost() string { return e.serviceHost }

// ReservePort takes a free port that is ours until Close, for the service to listen on.
func (e *Environment) ReservePort(service string) (*Port, error) {
	if e.reserve != nil {
		return e.reserve(service), nil
	}
	return e.reserveLocal()
}

func (e *Environment) reserveLocal() (*Port, error) {
	port, err := ReservePort()
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, errors.Join(errors.New("reserve port: environment is closed"), port.Close())
	}
	e.ports = append(e.ports, port)
	return port, nil
}

// HTTPReady returns a condition for [Spec]: a GET of the URL answers 200.
func (e *Environment) HTTPReady(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		transport := &http.Transport{DialContext: e.ObserverDial, DisableKeepAlives: true}
		defer transport.CloseIdleConnections()
		response, err := transport.RoundTrip(request)
		if err != nil {
			return fmt.Errorf("GET %s: %w", url, err)
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			body, _ := io.ReadAll(io.LimitReader(response.Body, 500))
			return fmt.Errorf("GET %s: %s %s", url, response.Status, strings.TrimSpace(string(body)))
		}
		return nil
	}
}

// StartService starts a service and returns when it is ready. It is returned also when it did not become
// ready, for its log, and is stopped by [Environment.Close].
func (e *Environment) StartService(ctx context.Context, spec Spec) (Node, error) {
	if spec.Name == "" || strings.ContainsAny(spec.Name, `/\`) {
		return nil, fmt.Errorf("start service %q: not a usable name", spec.Name)
	}
	s, err := e.describe(spec)
	if err == nil {
		err = e.enlist(s)
	}
	if err != nil {
		return nil, fmt.Errorf("start service %s: %w", spec.Name, err)
	}
	return s, s.Start(ctx)
}

func (e *Environment) describe(spec Spec) (server, error) {
	if e.serve != nil {
		return e.serve(spec)
	}
	return &Process{
		task: task{Spec: spec, events: []string{spec.Name}, stop: syscall.SIGTERM},
		log:  filepath.Join(e.logs, spec.Name+".log"), reaper: e.reaper, record: e.record,
	}, nil
}

func (e *Environment) enlist(s server) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return errors.New("environment is closed")
	}
	if e.names[s.Name()] {
		return errors.New("name is taken")
	}
	e.names[s.Name()] = true
	e.services = append(e.services, s)
	return nil
}

// UnexpectedExits returns the exits that no call of a [Node] asked for, in the order they happened.
func (e *Environment) UnexpectedExits() []history.Process {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.unexpected)
}

// recordTo returns a recorder that passes events on and keeps the exits nobody asked for.
func (e *Environment) recordTo(sink func(history.Process)) recorder {
	return func(event history.Process, asked bool) {
		if !asked {
			event.Unasked = true
			e.mu.Lock()
			e.unexpected = append(e.unexpected, event)
			e.mu.Unlock()
		}
		if sink != nil {
			sink(event)
		}
	}
}

// Close stops everything and removes all but the logs. It is idempotent; later calls return the first
// one's error.
func (e *Environment) Close(ctx context.Context) error {
	e.closeOnce.Do(func() { e.closeErr = e.close(ctx) })
	return e.closeErr
}

func (e *Environment) close(ctx context.Context) error {
	// Whatever happened to the caller's context, what was started is stopped.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	e.mu.Lock()
	e.closed = true
	services, ports, dirs := e.services, e.ports, e.dirs
	e.mu.Unlock()

	var group errgroup.Group
	for _, s := range slices.Concat(services, e.servers) {
		group.Go(func() error { return s.retire(ctx) })
	}
	errs := []error{group.Wait()}
	for _, dir := range dirs {
		errs = append(errs, os.RemoveAll(dir))
	}
	for _, port := range ports {
		errs = append(errs, port.Close())
	}
	if e.release != nil {
		errs = append(errs, e.release(ctx))
	}
	if e.forget != nil {
		e.forget(e)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close environment: %w", err)
	}
	return nil
}
