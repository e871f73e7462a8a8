// Package link owns the one path from one process to one server: the listener that the process connects
// to, a tap that understands the bytes, Toxiproxy's toxics, and the connection to the server.
package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/loopback"
	"github.com/ordeal-chaos/ordeal/harness/wire"
)

const (
	// dialTimeout bounds the connection to the server.
	dialTimeout = 5 * time.Second
	// maxQueued is how much a direction of a connection holds back before it stops reading.
	maxQueued = 4 << 20
	// closeTimeout bounds how long Close waits for goroutines. They end within milliseconds.
	closeTimeout = 10 * time.Second
)

// Config describes a link. Upstream is required.
type Config struct {
	Name     string        // "order->postgres"
	Protocol wire.Protocol // the zero value passes bytes without understanding them
	Upstream string        // the server's address
	// Listen are the IPv4 addresses of this machine to listen on, all on one port. Nil means 127.0.0.1.
	Listen []string
	// Refused is asked before each connection to the server: whether the server does not run. Then the client
	// gets what it would get where nothing listens. A dead container needs it, for which nobody refuses. Nil
	// means to let the server's kernel answer. It is called from several goroutines and must not call the link.
	Refused func() bool
	// Broker gives the address of this process's link to a Kafka node, for rewriting. Nil rewrites nothing.
	Broker func(node int32) (addr string, ok bool)
	// Topics is shared by links whose clients use topic ids that they learnt through another one. May be nil.
	Topics *wire.Topics
	// Record is called with each event worth keeping, before the bytes that it speaks of leave. It must be
	// quick and must not call the link. May be nil.
	Record func(history.Wire)
	// Now is the history's clock. Nil means the time since Open.
	Now func() time.Duration
}

// Link is one open link. It is safe for concurrent use.
type Link struct {
	config Config
	port   *port
	stats  stats
	ports  loopback.Ports // local ports of connections to the server

	stalled [2]atomic.Int32 // by direction; how many stalls are in force
	version [2]atomic.Int64 // of the set of toxics
	armed   atomic.Int32    // holds that wait for their message

	mu       sync.Mutex
	upstream string
	conns    map[*conn]struct{}
	last     int64 // number of the last connection
	refusing int
	closed   bool
	toxics   [2][]toxic
	holds    []*Hold

	wait sync.WaitGroup
}

// Open listens on a free port and keeps that port until Close.
func Open(config Config) (*Link, error) {
	if config.Upstream == "" {
		return nil, fmt.Errorf("open link %s: no upstream address", config.Name)
	}
	if config.Now == nil {
		start := time.Now()
		config.Now = func() time.Duration { return time.Since(start) }
	}
	if len(config.Listen) == 0 {
		config.Listen = []string{"127.0.0.1"}
	}
	p, err := reservePort(config.Listen)
	if err != nil {
		return nil, fmt.Errorf("open link %s: %w", config.Name, err)
	}
	l := &Link{
		config: config, port: p, upstream: config.Upstream,
		conns: map[*conn]struct{}{},
	}
	listeners, err := p.listen()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open link %s: %w", config.Name, err), p.release())
	}
	l.serve(listeners)
	return l, nil
}

// serve begins to accept on the listeners, until each is closed.
func (l *Link) serve(listeners []*net.TCPListener) {
	for _, listener := range listeners {
		l.wait.Go(func() { l.accept(listener) })
	}
}

// Name is the name given in the configuration.
func (l *Link) Name() string { return l.config.Name }

// Addr is where the process connects to, on the first host that the link listens on. It never changes.
func (l *Link) Addr() string { return l.AddrOn(l.config.Listen[0]) }

// AddrOn is Addr on another host that the link listens on.
func (l *Link) AddrOn(host string) string { return l.port.addr(host) }

// SetUpstream changes the server's address for connections opened later.
func (l *Link) SetUpstream(addr string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.upstream = addr
}

// Ports are the local ports of every socket with which the link ever reached out to the server, rising.
func (l *Link) Ports() []int {
	return l.ports.All()
}

// Uses is how often the link reached out to the server from that local port.
func (l *Link) Uses(port int) int { return l.ports.Uses(port) }

// Dials is how often the link reached out to the address, whatever came of it.
func (l *Link) Dials(addr string) int { return l.ports.Dials(addr) }

// Close resets what is open, releases holds and the port, and waits for every goroutine. Closing twice is
// harmless.
func (l *Link) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	open, holds := l.open(), l.holds
	l.holds = nil
	l.mu.Unlock()

	err := l.port.release()
	for _, c := range open {
		c.reset()
	}
	for _, h := range holds {
		h.Cancel()
	}
	done := make(chan struct{})
	go func() {
		l.wait.Wait()
		close(done)
	}()
	timeout := time.NewTimer(closeTimeout)
	defer timeout.Stop()
	select {
	case <-done:
	case <-timeout.C:
		err = errors.Join(err, fmt.Errorf("goroutines still run after %v", closeTimeout))
	}
	if err != nil {
		return fmt.Errorf("close link %s: %w", l.config.Name, err)
	}
	return nil
}

// open lists the connections. The caller holds mu.
func (l *Link) open() []*conn {
	open := make([]*conn, 0, len(l.conns))
	for c := range l.conns {
		open = append(open, c)
	}
	return open
}

// Refuse resets what is open and makes the kernel refuse new connections, as if nothing listened; the
// port stays the link's. Heal listens again on the same port; it may be called more than once.
func (l *Link) Refuse() (heal func() error, err error) {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil, fmt.Errorf("refuse on link %s: %w", l.config.Name, net.ErrClosed)
	}
	l.refusing++
	open := l.open()
	if l.refusing == 1 {
		err = l.port.unlisten()
	}
	l.mu.Unlock()
	for _, c := range open {
		if c.reset() {
			l.stats.count(func(n *counts) { n.reset++ })
		}
	}
	heal = sync.OnceValue(l.admit)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("refuse on link %s: %w", l.config.Name, err), heal())
	}
	return heal, nil
}

// admit ends one Refuse.
func (l *Link) admit() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refusing--
	if l.refusing > 0 || l.closed {
		return nil
	}
	listeners, err := l.port.listen()
	if err != nil {
		return fmt.Errorf("listen again on link %s: %w", l.config.Name, err)
	}
	l.serve(listeners)
	return nil
}

// Reset sends RST to both sides of every open connection and returns how many there were.
func (l *Link) Reset() int {
	l.mu.Lock()
	open := l.open()
	l.mu.Unlock()
	count := 0
	for _, c := range open {
		if c.reset() {
			count++
			l.stats.count(func(n *counts) { n.reset++ })
		}
	}
	return count
}

// Stall lets nothing pass in the given directions, both if none is given, and loses nothing: what was
// offered passes after heal, in order. It acts on connections opened later too. Stalls may overlap.
// Bytes that are already inside a toxic (delayed by a Latency) still come out.
func (l *Link) Stall(directions ...string) (heal func()) {
	indexes := indexesOf(directions)
	for _, i := range indexes {
		l.stalled[i].Add(1)
	}
	return sync.OnceFunc(func() {
		for _, i := range indexes {
			l.stalled[i].Add(-1)
		}
		l.wake()
	})
}

// wake makes every connection look again at what is in force.
func (l *Link) wake() {
	l.mu.Lock()
	open := l.open()
	l.mu.Unlock()
	for _, c := range open {
		c.wake()
	}
}

// accept serves one listener until it is closed.
func (l *Link) accept(listener *net.TCPListener) {
	for {
		socket, err := listener.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Out of descriptors, or a connection gone before it was accepted: the next one may do.
			pause(10 * time.Millisecond)
			continue
		}
		l.mu.Lock()
		if l.closed || l.refusing > 0 {
			l.mu.Unlock()
			sever(socket)
			l.stats.count(func(n *counts) { n.refused++ })
			continue
		}
		l.last++
		ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
		c := newConn(l, l.last, socket, cancel)
		l.conns[c] = struct{}{}
		upstream := l.upstream
		l.stats.count(func(n *counts) { n.opened++ })
		l.wait.Go(func() { c.serve(ctx, upstream) })
		l.mu.Unlock()
	}
}

// pause waits without a context: only the accept loop uses it, for a moment, and Close can wait for that.
func pause(d time.Duration) {
	t := time.NewTimer(d)
	<-t.C
}

// forget removes a connection that ended.
func (l *Link) forget(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}

// record hands an event to the history.
func (l *Link) record(w history.Wire) {
	if l.config.Record != nil {
		l.config.Record(w)
	}
}

// broker splits the configured address of a node.
func (l *Link) broker(node int32) (host string, port int32, ok bool) {
	addr, ok := l.config.Broker(node)
	if !ok {
		return "", 0, false
	}
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, false
	}
	number, err := strconv.ParseUint(service, 10, 16)
	return host, int32(number), err == nil
}

// The two directions as indexes.
const (
	request = iota
	response
)

var directionNames = [2]string{history.Request, history.Response}

// indexesOf maps names to indexes; none, or an empty name, means both.
func indexesOf(directions []string) []int {
	var indexes []int
	for i, name := range directionNames {
		for _, d := range directions {
			if d == name {
				indexes = append(indexes, i)
				break
			}
		}
	}
	if len(indexes) == 0 {
		return []int{request, response}
	}
	return indexes
}

// sever closes a socket so that its peer gets RST.
func sever(socket *net.TCPConn) {
	_ = socket.SetLinger(0) // a socket already closed needs none
	_ = socket.Close()
}
