package observe

import (
	"context"

	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// Source says in words what is still open, nothing when nothing is. An error counts as open: what
// cannot be asked is not known to be at rest.
type Source = func(context.Context) ([]string, error)

// DrainConfig says what a drain waits for, and how long.
type DrainConfig struct {
	Sources []Source
	// Recorder is watched for rows and records: any of them is activity. Nil watches nothing.
	Recorder *history.Recorder
	// Every is the time between two polls, 50 ms when zero.
	Every time.Duration
	// Longest is the longest timer configured in the system under test. A system with something open in
	// which nothing changed for longer is stuck. Zero never gives up before the deadline.
	Longest time.Duration
	// Deadline is when to give up in any case, 30 s when zero.
	Deadline time.Duration
}

// How a drain ended: the first words of the Detail of a [history.ProbeQuiescent].
const (
	Quiescent   = "quiescent"   // twice in a row nothing was open
	Stuck       = "stuck"       // something was open and nothing changed for longer than the longest timer
	Deadline    = "deadline"    // things still changed when the deadline came
	Interrupted = "interrupted" // the context ended first
)

// Drain polls the sources until the system is at rest, stuck, or out of time. The probe is OK only when
// it is at rest. Numbers: "idle_ms" since the last change, "waited_ms", "deadline_ms", "polls",
// "starved" (1 when this machine was too busy to judge anything by time), and the scheduling delay that
// says so, "lag_p99_ms" and "lag_max_ms". Detail says how it ended and what was open.
func Drain(ctx context.Context, config DrainConfig) history.Probe {
	every := orDefault(config.Every, 50*time.Millisecond)
	deadline := orDefault(config.Deadline, 30*time.Second)
	d := drain{longest: config.Longest}
	began := time.Now()
	bounded, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	lag := watchLag()
	activity := watchActivity(config.Recorder)
	var outcome string
	var polls int64
	for outcome == "" {
		open := poll(bounded, config.Sources)
		polls++
		switch {
		case ctx.Err() != nil:
			outcome = Interrupted
		case bounded.Err() != nil:
			outcome = Deadline // and the poll that it cut short says nothing
		default:
			if outcome = d.step(time.Since(began), Status{open, activity.Load()}); outcome == "" {
				pause(bounded, every)
			}
		}
	}
	p99, most := lag.stop()
	waited := time.Since(began)
	return history.Probe{
		Name: history.ProbeQuiescent, OK: outcome == Quiescent,
		Detail: strings.Join(append([]string{outcome}, d.last.Open...), "; "),
		Numbers: map[string]int64{
			"idle_ms": (waited - d.changed).Milliseconds(), "waited_ms": waited.Milliseconds(),
			"deadline_ms": deadline.Milliseconds(), "polls": polls,
			"starved": starved(p99, most), "lag_p99_ms": p99.Milliseconds(), "lag_max_ms": most.Milliseconds(),
		},
	}
}

// Status is what one poll found: what is open in words, and a number that any activity changes.
type Status struct {
	Open     []string
	Activity int64
}

// drain decides from a series of polls. It has no clock: times are since the drain began.
type drain struct {
	longest time.Duration // zero: never stuck

	polled  bool
	last    Status
	changed time.Duration // when the last change was seen
}

// step takes one poll, and says how the drain ended or "" when it goes on.
func (d *drain) step(now time.Duration, status Status) string {
	before, polled := d.last, d.polled
	if d.last, d.polled = status, true; !polled || before.Activity != status.Activity || !slices.Equal(before.Open, status.Open) {
		d.changed = now
	}
	switch {
	case polled && len(before.Open) == 0 && len(status.Open) == 0:
		return Quiescent
	case len(status.Open) > 0 && d.longest > 0 && now-d.changed > d.longest:
		return Stuck
	}
	return ""
}

// poll asks every source, all at once.
func poll(ctx context.Context, sources []Source) []string {
	open := make([][]string, len(sources))
	var asked sync.WaitGroup
	for i, source := range sources {
		asked.Go(func() {
			words, err := source(ctx)
			if err != nil {
				words = append(words, err.Error())
			}
			open[i] = words
		})
	}
	asked.Wait()
	return slices.Concat(open...)
}

// watchActivity counts rows and records from now on: what the system under test does.
func watchActivity(recorder *history.Recorder) *atomic.Int64 {
	var n atomic.Int64
	if recorder != nil {
		recorder.Watch(func(e history.Event) {
			if e.Row != nil || e.Record != nil {
				n.Add(1)
			}
		})
	}
	return &n
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}
