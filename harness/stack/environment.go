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

	servers   []*Postgres
	databases map[string]*Postgres
	brokers   []*Broker
	kafka     *Process // nil without brokers

	mu         sync.Mutex
	ports      []*Port
	services   []*Process
	dirs       []string // to remove
	unexpected []history.Process
	closed     bool

	closeOnce sync.Once
	closeErr  error
	forget    func(*Environment)
}

// Postgres returns the server of the database, or nil when there is no such database.
func (e *Environment) Postgres(database string) *Postgres { return e.databases[database] }

// PostgresServers returns every Postgres server: "postgres", or one "postgres-DATABASE" each.
func (e *Environment) PostgresServers() []*Postgres { return slices.Clone(e.servers) }

// Brokers returns the Kafka brokers, by number.
func (e *Environment) Brokers() []*Broker { return slices.Clone(e.brokers) }

// LogDir is the folder of all logs, in the run folder.
func (e *Environment) LogDir() string { return e.logs }

// Observers are the local ports of every connection made through [Environment.ObserverDial] and
// [Environment.KafkaDialer], the stack's own probes included.
func (e *Environment) Observers() *loopback.Ports { return &e.observers }

// ObserverDial connects to a server directly, past all links, and records the connection's local port
// among [Environment.Observers].
func (e *Environment) ObserverDial(ctx context.Context, network, addr string) (net.Conn, error) {
	return e.observers.Dial(ctx, network, addr)
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

// ReservePort takes a free port that is ours until Close, for a service to listen on.
func (e *Environment) ReservePort() (*Port, error) {
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

// StartService starts a process and returns when it is ready. The process is returned also when it did
// not become ready, for its log, and is stopped by [Environment.Close].
func (e *Environment) StartService(ctx context.Context, spec Spec) (*Process, error) {
	if spec.Name == "" || strings.ContainsAny(spec.Name, `/\`) {
		return nil, fmt.Errorf("start service %q: not a usable name", spec.Name)
	}
	p := &Process{
		task: task{Spec: spec, events: []string{spec.Name}, stop: syscall.SIGTERM},
		log:  filepath.Join(e.logs, spec.Name+".log"), reaper: e.reaper, record: e.record,
	}
	if err := e.enlist(p); err != nil {
		return nil, fmt.Errorf("start service %s: %w", spec.Name, err)
	}
	return p, p.Start(ctx)
}

func (e *Environment) enlist(p *Process) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return errors.New("environment is closed")
	}
	taken := func(other *Process) bool { return other.log == p.log }
	if slices.ContainsFunc(e.services, taken) || e.kafka != nil && taken(e.kafka) ||
		slices.ContainsFunc(e.servers, func(pg *Postgres) bool { return taken(pg.Process) }) {
		return errors.New("name is taken")
	}
	e.services = append(e.services, p)
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
	for _, p := range services {
		group.Go(func() error { return p.retire(ctx, p.Kill) })
	}
	if e.kafka != nil {
		group.Go(func() error { return e.kafka.retire(ctx, e.kafka.Kill) })
	}
	for _, pg := range e.servers {
		group.Go(func() error { return pg.retire(ctx, pg.quit) })
	}
	errs := []error{group.Wait()}
	for _, dir := range dirs {
		errs = append(errs, os.RemoveAll(dir))
	}
	for _, port := range ports {
		errs = append(errs, port.Close())
	}
	if e.forget != nil {
		e.forget(e)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close environment: %w", err)
	}
	return nil
}
