package link

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ordeal-chaos/ordeal/harness/wire"
)

// conn is one connection of a client, and the link's own connection to the server for it.
type conn struct {
	link   *Link
	id     int64
	client *net.TCPConn
	cancel context.CancelFunc // of the dial
	flows  [2]*flow

	parsing sync.Mutex // guards codec: the directions share its state
	codec   wire.Codec

	mu       sync.Mutex
	server   *net.TCPConn // nil until dialled
	closed   bool
	finished int // flows

	ending atomic.Bool // a side ended its stream, or the link ends the connection

	exchangesMu sync.Mutex
	exchanges   map[int64]time.Time // when each unanswered one began
}

// newConn makes a connection; the caller holds l.mu.
func newConn(l *Link, id int64, client *net.TCPConn, cancel context.CancelFunc) *conn {
	options := wire.Options{Now: l.config.Now, Topics: l.config.Topics}
	if l.config.Broker != nil {
		options.Broker = l.broker
	}
	c := &conn{
		link: l, id: id, client: client, cancel: cancel,
		codec: wire.New(l.config.Protocol, options), exchanges: map[int64]time.Time{},
	}
	for i := range c.flows {
		c.flows[i] = newFlow(c, i)
		if len(l.toxics[i]) == 0 {
			c.flows[i].applied = l.version[i].Load()
		}
	}
	return c
}

// serve dials the server and carries bytes until the connection ends.
func (c *conn) serve(ctx context.Context, upstream string) {
	defer c.link.forget(c)
	socket, err := c.link.dial(ctx, upstream)
	c.cancel()
	if err != nil {
		if c.reset() {
			c.link.stats.count(func(n *counts) { n.dialFailed++ })
		}
		return
	}
	server := socket.(*net.TCPConn)
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		sever(server)
		return
	}
	c.server = server
	c.flows[request].from, c.flows[request].to = c.client, server
	c.flows[response].from, c.flows[response].to = server, c.client
	c.mu.Unlock()

	var wait sync.WaitGroup
	for _, f := range c.flows {
		wait.Go(f.read)
		wait.Go(f.forward)
	}
	wait.Wait()
	c.close()
}

// dial connects to the server, unless it is known not to run.
func (l *Link) dial(ctx context.Context, upstream string) (net.Conn, error) {
	if l.config.Refused != nil && l.config.Refused() {
		return nil, syscall.ECONNREFUSED
	}
	return l.ports.Dial(ctx, "tcp", upstream)
}

// reset sends RST to both sides, drops what is held or queued, and says whether the connection was open.
func (c *conn) reset() bool {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return false
	}
	c.closed = true
	c.ending.Store(true)
	server := c.server
	c.mu.Unlock()
	c.cancel()
	for _, f := range c.flows {
		f.kill() // first, or a flow takes the end of one socket for the peer's and closes the other politely
	}
	sever(c.client)
	if server != nil {
		sever(server)
	}
	return true
}

// resetClient sends RST to the client and says whether the connection was open. What the client sent
// still goes to the server.
func (c *conn) resetClient() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.ending.Store(true)
	sever(c.client)
	return true
}

// close ends a connection of which every goroutine is done.
func (c *conn) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.closed = true
		_ = c.client.Close()
		_ = c.server.Close()
	}
}

// endedBy notes that the stream of a direction's sender ended, and counts the first to end of a
// connection that the link did not end itself.
func (c *conn) endedBy(index int, err error) {
	switch {
	case c.ending.Swap(true) || errors.Is(err, net.ErrClosed):
	case index == request:
		c.link.stats.count(func(n *counts) { n.clientEnded++ })
	default:
		c.link.stats.count(func(n *counts) { n.serverEnded++ })
	}
}

// done notes that a direction passes nothing more. After the second one the client's socket closes, which
// ends a reader that only discards. The server's stays until the server closes it: closing it with
// unread answers would make the kernel send RST, which can overtake the last request.
func (c *conn) done() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.finished++
	if c.closed || c.finished < len(c.flows) {
		return
	}
	if c.flows[request].undeliverable() {
		sever(c.client) // as the server's kernel would answer
	} else {
		_ = c.client.Close()
	}
}

// wake makes both directions look again at what is in force.
func (c *conn) wake() {
	for _, f := range c.flows {
		f.wake()
	}
}

// begin notes the first byte of an exchange.
func (c *conn) begin(exchange int64, at time.Time) {
	c.exchangesMu.Lock()
	c.exchanges[exchange] = at
	c.exchangesMu.Unlock()
}

// end notes that the answer was delivered.
func (c *conn) end(exchange int64, at time.Time) {
	c.exchangesMu.Lock()
	began, ok := c.exchanges[exchange]
	delete(c.exchanges, exchange)
	c.exchangesMu.Unlock()
	if ok {
		c.link.stats.roundTrip(began, at)
	}
}

// waiting returns how many exchanges are unanswered, and when the first of them began.
func (c *conn) waiting() (count int, oldest time.Time) {
	c.exchangesMu.Lock()
	defer c.exchangesMu.Unlock()
	for _, began := range c.exchanges {
		if oldest.IsZero() || began.Before(oldest) {
			oldest = began
		}
	}
	return len(c.exchanges), oldest
}
