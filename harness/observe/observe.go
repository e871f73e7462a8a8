// Package observe owns what the harness sees by itself: the taps on every database's write-ahead log
// and on every topic, the client recorder, and the drain that waits for the system to come to rest.
//
// Observers read the servers directly and never through a link, so that no fault can blind them.
package observe

import (
	"context"
	"errors"
	"net"
	"time"
)

// DialFunc dials as [net.Dialer.DialContext] does. Every observer takes one, so that a backend can map
// advertised addresses to real ones and the proof of no bypass can know the observers' ports.
type DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

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
