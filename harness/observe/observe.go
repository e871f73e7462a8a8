// Package observe owns what the harness sees by itself: the taps on every database's write-ahead log
// and on every topic, the client recorder, and the drain that waits for the system to come to rest.
//
// Observers read the servers directly and never through a link, so that no fault can blind them.
package observe

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"sync"
	"time"
)

// DialFunc dials as [net.Dialer.DialContext] does. Every observer takes one, so that a backend can map
// advertised addresses to real ones and the proof of no bypass can know the observers' ports.
type DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// Dialer dials for observers and remembers the local port of every connection it made: a peer that a
// server accepted is either one of these or a link's. The zero value dials directly. It is safe for
// concurrent use and must not be copied.
type Dialer struct {
	// Dial makes the connections; nil means a [net.Dialer].
	Dial DialFunc

	mu    sync.Mutex
	ports map[int]struct{}
}

// DialContext dials, and remembers the local port.
func (d *Dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := dialer(d.Dial)(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	if local, ok := conn.LocalAddr().(*net.TCPAddr); ok {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.ports == nil {
			d.ports = make(map[int]struct{})
		}
		d.ports[local.Port] = struct{}{}
	}
	return conn, nil
}

// Ports are the local ports of all connections made so far, in rising order.
func (d *Dialer) Ports() []int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.ports))
}

// Owns says whether a connection was ever made from the local port.
func (d *Dialer) Owns(port int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.ports[port]
	return ok
}

func dialer(dial DialFunc) DialFunc {
	if dial != nil {
		return dial
	}
	return (&net.Dialer{Timeout: dialTimeout}).DialContext
}

// dialTimeout bounds every attempt to reach a server: all of them are on this machine, and one that is
// paused answers nothing for as long as it is.
const dialTimeout = 5 * time.Second

// pause waits for d. It says whether the wait ended before the context did.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// backoff is a doubling wait between first and most.
type backoff struct{ first, most, next time.Duration }

func (b *backoff) wait(ctx context.Context) bool {
	d := max(b.next, b.first)
	b.next = min(2*d, b.most)
	return pause(ctx, d)
}

func (b *backoff) reset() { b.next = 0 }

// errClosed is the cause of every wait that a Close ended.
var errClosed = errors.New("tap is closed")
