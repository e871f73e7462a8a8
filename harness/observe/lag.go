package observe

import (
	"slices"
	"time"
)

// A machine that lets a goroutine wait this long could equally have kept the services from running, so
// that nothing can be said about how long they took.
const (
	starvedP99 = 250 * time.Millisecond
	starvedMax = 2 * time.Second
)

// lagTick is how often the lag is sampled.
const lagTick = 10 * time.Millisecond

func starved(p99, most time.Duration) int64 {
	if p99 > starvedP99 || most > starvedMax {
		return 1
	}
	return 0
}

// lagWatch measures how late a goroutine of this process is run.
type lagWatch struct {
	quit, done chan struct{}
	lags       []time.Duration
}

func watchLag() *lagWatch {
	w := &lagWatch{quit: make(chan struct{}), done: make(chan struct{})}
	go w.run()
	return w
}

// stop ends the watch, and returns the 99th percentile and the maximum of the lag.
func (w *lagWatch) stop() (p99, most time.Duration) {
	close(w.quit)
	<-w.done
	return percentile(w.lags, 99), percentile(w.lags, 100)
}

func (w *lagWatch) run() {
	defer close(w.done)
	timer := time.NewTimer(lagTick)
	defer timer.Stop()
	for before := time.Now(); ; {
		select {
		case <-w.quit:
			w.lags = samples(w.lags, time.Since(before))
			return
		case <-timer.C:
		}
		now := time.Now()
		w.lags = samples(w.lags, now.Sub(before))
		before = now
		timer.Reset(lagTick)
	}
}

// samples adds the lags that one gap between two runs stands for. A gap of many ticks is that many late
// runs, each a tick less late than the one before: counted once, a long stop would hide in a percentile.
func samples(lags []time.Duration, gap time.Duration) []time.Duration {
	lag := max(gap-lagTick, 0)
	lags = append(lags, lag)
	for lag -= lagTick; lag > 0; lag -= lagTick {
		lags = append(lags, lag)
	}
	return lags
}

// percentile is the smallest lag that p percent of the lags do not exceed.
func percentile(lags []time.Duration, p int) time.Duration {
	if len(lags) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(lags))
	return sorted[(len(sorted)*p+99)/100-1]
}
