package link

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// Toxic is something that Toxiproxy does to a direction of every connection of a link: a [Latency],
// [Bandwidth], [LimitData] or [SlowClose].
type Toxic interface {
	// toxic describes it to Toxiproxy, or says what is wrong with it: Toxiproxy itself validates nothing,
	// and some values crash the process.
	toxic() (toxic, error)
}

// toxic is a toxic in force, in Toxiproxy's words.
type toxic struct {
	id         int64 // the version of the set that brought it
	kind       string
	direction  string
	attributes map[string]int64
}

// Latency delays each chunk by Delay ± Jitter, at millisecond resolution. Order is kept.
type Latency struct {
	Direction     string // history.Request, history.Response, or "" for both
	Delay, Jitter time.Duration
}

// Bandwidth lets KBps thousand bytes a second pass.
type Bandwidth struct {
	Direction string // as in Latency
	KBps      int64
}

// LimitData cuts each connection when Bytes more have passed. The count begins anew when another toxic
// of that direction comes or goes.
type LimitData struct {
	Direction string // as in Latency
	Bytes     int64
}

// SlowClose passes the end of a stream on only after Delay.
type SlowClose struct {
	Direction string // as in Latency
	Delay     time.Duration
}

// maxDelay is far above what any experiment waits for, and far below what overflows.
const maxDelay = time.Hour

func (t Latency) toxic() (toxic, error) {
	switch {
	case t.Delay < 0 || t.Delay > maxDelay:
		return toxic{}, fmt.Errorf("delay %v is not between 0 and %v", t.Delay, maxDelay)
	case t.Jitter < 0 || t.Jitter > t.Delay:
		return toxic{}, fmt.Errorf("jitter %v is not between 0 and the delay %v", t.Jitter, t.Delay)
	}
	return toxic{kind: "latency", direction: t.Direction, attributes: map[string]int64{
		"latency": t.Delay.Milliseconds(), "jitter": t.Jitter.Milliseconds(),
	}}, nil
}

func (t Bandwidth) toxic() (toxic, error) {
	if t.KBps < 1 || t.KBps > 1<<30 {
		return toxic{}, fmt.Errorf("rate %d KB/s is not between 1 and %d", t.KBps, 1<<30)
	}
	return toxic{kind: "bandwidth", direction: t.Direction, attributes: map[string]int64{"rate": t.KBps}}, nil
}

func (t LimitData) toxic() (toxic, error) {
	if t.Bytes < 0 {
		return toxic{}, fmt.Errorf("limit of %d bytes is negative", t.Bytes)
	}
	return toxic{kind: "limit_data", direction: t.Direction, attributes: map[string]int64{"bytes": t.Bytes}}, nil
}

func (t SlowClose) toxic() (toxic, error) {
	if t.Delay < 0 || t.Delay > maxDelay {
		return toxic{}, fmt.Errorf("delay %v is not between 0 and %v", t.Delay, maxDelay)
	}
	return toxic{kind: "slow_close", direction: t.Direction, attributes: map[string]int64{"delay": t.Delay.Milliseconds()}}, nil
}

// Toxic puts t in force on open connections and on later ones, behind the toxics that are in force.
//
// Heal ends it, and returns when every byte that it delayed has been passed on. A connection on which
// that does not happen before ctx ends, because its destination reads nothing, is reset and counted as
// cut, and heal says so in its error, which wraps that of ctx. It may be called more than once, with the same result.
func (l *Link) Toxic(t Toxic) (heal func(context.Context) error, err error) {
	made, err := t.toxic()
	if err == nil && made.direction != "" && made.direction != history.Request && made.direction != history.Response {
		err = fmt.Errorf("direction %q is unknown", made.direction)
	}
	if err != nil {
		return nil, fmt.Errorf("add toxic to link %s: %w", l.config.Name, err)
	}
	indexes := indexesOf([]string{made.direction})
	var ids [2]int64
	l.mu.Lock()
	for _, i := range indexes {
		made.id = l.version[i].Add(1)
		ids[i] = made.id
		// Copied, because pipelines are built from the slice without the lock.
		l.toxics[i] = append(slices.Clone(l.toxics[i]), made)
	}
	l.mu.Unlock()
	l.wake()
	var once sync.Once
	var healing error
	return func(ctx context.Context) error {
		once.Do(func() {
			if reset := l.heal(ctx, indexes, ids); reset > 0 {
				healing = fmt.Errorf("heal %s on link %s: reset %d connections that did not drain: %w", made.kind, l.config.Name, reset, ctx.Err())
			}
		})
		return healing
	}, nil
}

// heal takes a toxic out of force and waits for what it holds. It returns how many connections it had to reset.
func (l *Link) heal(ctx context.Context, indexes []int, ids [2]int64) (reset int) {
	var versions [2]int64
	l.mu.Lock()
	for _, i := range indexes {
		rest := make([]toxic, 0, len(l.toxics[i]))
		for _, t := range l.toxics[i] {
			if t.id != ids[i] {
				rest = append(rest, t)
			}
		}
		l.toxics[i] = rest
		versions[i] = l.version[i].Add(1)
	}
	open := l.open()
	l.mu.Unlock()
	l.wake()
	for _, c := range open {
		for _, i := range indexes {
			settled := c.flows[i].settles(versions[i])
			if settled == nil {
				continue
			}
			select {
			case <-settled:
			case <-ctx.Done():
				if c.reset() {
					reset++
					l.stats.count(func(n *counts) { n.cut++ })
				}
			}
		}
	}
	return reset
}

// inForce returns the toxics of a direction and the version of that set.
func (l *Link) inForce(index int) ([]toxic, int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.toxics[index], l.version[index].Load()
}
