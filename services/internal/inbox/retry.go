package inbox

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/ordeal-chaos/ordeal/services/internal/db"
	"github.com/ordeal-chaos/ordeal/services/internal/events"
)

// ErrStale is wrapped by the error of an effect that the state of the database rules out, for good.
var ErrStale = errors.New("state rules it out")

const maxBackoff = 500 * time.Millisecond

// Retry says how often and how soon a record is tried again.
type Retry struct {
	Attempts int           // before the dead letter
	Backoff  time.Duration // after the first failure; doubles
	Fixed    bool          // it does not double
}

// classify adds to the classes of database errors those of events.
func classify(err error) db.Class {
	if errors.Is(err, events.ErrInvalid) || errors.Is(err, ErrStale) {
		return db.Refused
	}
	return db.Classify(err)
}

// counts reports whether a failure uses up an attempt. An unreachable server says nothing about the record. A record
// that others were in the way of is given up only if that is harmless: an unanswered OrderPlaced is cancelled by
// the order's own sweeper, while a decision that got lost would leave stock reserved or unsold for ever.
func (r Retry) counts(class db.Class, eventType string) bool {
	switch class {
	case db.Refused:
		return true
	case db.Contended:
		return eventType == events.OrderPlaced
	default:
		return false
	}
}

// delay returns the pause after so many failures, without jitter.
func (r Retry) delay(failures int) time.Duration {
	d := r.Backoff
	if r.Fixed {
		return d
	}
	for range failures - 1 {
		if d *= 2; d >= maxBackoff {
			break
		}
	}
	return min(d, max(maxBackoff, r.Backoff))
}

// pause waits after a failure. The error is that of ctx.
func (r Retry) pause(ctx context.Context, failures int) error {
	d := r.delay(failures)
	d += time.Duration(rand.Int64N(int64(d)/10 + 1)) // so that workers that failed together part
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
