package broker

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// readTimeout bounds reads for which kafka-go sets no limit: it would wait for ever for an answer that got lost.
const readTimeout = 5 * time.Second

// bootstrap are the brokers to ask who leads and who coordinates. Each dial of [anyBroker] begins with the one after
// the last: kafka-go would ask the first for as long as it takes connections, also when it is paused or cut off.
type bootstrap struct {
	addresses []string
	turn      atomic.Uint32
}

// anyBroker is an address for kafka-go that stands for all of a bootstrap.
const anyBroker = "bootstrap:9092"

// Dial dials address, or, for [anyBroker], the first broker of the next turn that takes a connection.
func (b *bootstrap) Dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	var dialer net.Dialer
	if address != anyBroker {
		return dialer.DialContext(ctx, network, address)
	}
	first := int(b.turn.Add(1))
	for i := range b.addresses {
		conn, err = dialer.DialContext(ctx, network, b.addresses[(first+i)%len(b.addresses)])
		if err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// sockets dials connections and can end all of them at once: the only way to interrupt a read inside kafka-go.
type sockets struct {
	brokers *bootstrap
	mu      sync.Mutex
	closed  bool
	open    map[net.Conn]struct{}
}

func newSockets(brokers *bootstrap) *sockets {
	return &sockets{brokers: brokers, open: map[net.Conn]struct{}{}}
}

// Dial is for kafka.Dialer.
func (s *sockets) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := s.brokers.Dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	s.open[conn] = struct{}{}
	return &socket{Conn: conn, owner: s}, nil
}

// Close ends every connection, and those still to come. It can be called again.
func (s *sockets) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for conn := range s.open {
		_ = conn.Close()
	}
	clear(s.open)
}

type socket struct {
	net.Conn
	owner *sockets
}

func (s *socket) Close() error {
	s.owner.mu.Lock()
	delete(s.owner.open, s.Conn)
	s.owner.mu.Unlock()
	return s.Conn.Close()
}

// SetReadDeadline is called by kafka-go before every read, with zero for no limit.
func (s *socket) SetReadDeadline(t time.Time) error {
	if t.IsZero() {
		t = time.Now().Add(readTimeout)
	}
	return s.Conn.SetReadDeadline(t)
}
