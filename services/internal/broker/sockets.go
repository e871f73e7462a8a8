package broker

import (
	"context"
	"net"
	"sync"
	"time"
)

// readTimeout bounds reads for which kafka-go sets no limit: it would wait for ever for an answer that got lost.
const readTimeout = 5 * time.Second

// sockets dials connections and can end all of them at once: the only way to interrupt a read inside kafka-go.
type sockets struct {
	mu     sync.Mutex
	closed bool
	open   map[net.Conn]struct{}
}

func newSockets() *sockets { return &sockets{open: map[net.Conn]struct{}{}} }

// Dial is for kafka.Dialer.
func (s *sockets) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
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
