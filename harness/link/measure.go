package link

import (
	"math/bits"
	"sync"
	"time"
)

// Measure is what a link did during a window.
type Measure struct {
	Duration time.Duration
	// Opened counts connections that clients opened, DialFailed those of them whose server could not be
	// reached, Refused those that were already on their way when the link began to refuse. What the kernel
	// refuses is not seen here, and therefore not counted.
	Opened, DialFailed, Refused int64
	// Conns counts the connections that were open when the window began or opened within it.
	Conns int64
	// ClientEnded and ServerEnded count the connections by which of the two ended its stream first, by FIN
	// or RST, as the kernel does for a process that dies. What the link itself ended is in neither.
	ClientEnded, ServerEnded int64
	// Reset counts connections that the link reset on demand, Limited those that a [LimitData] ended, Cut
	// those that ended in the middle of a message or because a toxic could not be healed.
	Reset, Limited, Cut int64
	// Unread counts the messages, and fragments, that passed without being understood although the tap looks
	// into such, see [wire.Message]. A link that only passes bytes on counts none.
	Unread            int64
	Request, Response Traffic
	RoundTrips        RoundTrips
	// InFlight counts requests not answered by now, Oldest says since when the first of them waits.
	InFlight int64
	Oldest   time.Duration
}

// Traffic is what one direction carried.
type Traffic struct {
	Offered   int64 // bytes that the sender gave the link
	Delivered int64 // bytes that the link gave the receiver
	Messages  int64 // messages that arrived whole
	Backlog   int64 // most bytes offered and not yet delivered, at one moment, over all connections
	// Wait is the longest that any byte was offered and not delivered, within the window.
	Wait time.Duration
	// Delayed is the longest time from arrival to delivery of bytes that passed through toxics: zero while
	// none is in force, however slow the machine.
	Delayed time.Duration
	// CloseDelay is the longest time from the end of a stream, as its sender made it, to passing it on.
	CloseDelay time.Duration
	Rate       float64 // delivered bytes a second
}

// RoundTrips are the answered requests that the client saw answered within the window: from the
// first byte of the request at the tap to the last of the answer. Kafka requests that wait on purpose do
// not count.
type RoundTrips struct {
	Count    int64
	Min, Max time.Duration
	P50      time.Duration // within 7 %
	Rate     float64       // a second
	// Whole counts those that also began within the window; WholeMin is the fastest of them.
	Whole    int64
	WholeMin time.Duration
}

// counts are events that are counted one by one.
type counts struct {
	opened, dialFailed, refused, clientEnded, serverEnded, reset, limited, cut, unread int64
}

// stats are the figures of one link.
type stats struct {
	mu      sync.Mutex
	counts  counts
	traffic [2]Traffic
	backlog [2]int64 // now
	windows map[*Window]struct{}
}

// Window measures a link from Watch on.
type Window struct {
	link  *Link
	began time.Time
	open  int64 // connections when it began

	// Guarded by the link's stats.
	counts  counts
	traffic [2]Traffic // as they were when the window began
	backlog [2]int64
	wait    [2]time.Duration
	closes  [2]time.Duration
	delayed [2]time.Duration
	trips   trips
}

// Watch begins measuring.
func (l *Link) Watch() *Window {
	l.mu.Lock()
	w := &Window{link: l, began: time.Now(), open: int64(len(l.conns))}
	l.mu.Unlock()
	s := &l.stats
	s.mu.Lock()
	defer s.mu.Unlock()
	w.counts, w.traffic, w.backlog = s.counts, s.traffic, s.backlog
	if s.windows == nil {
		s.windows = map[*Window]struct{}{}
	}
	s.windows[w] = struct{}{}
	return w
}

// Stop ends the window's cost; what it measured until then can still be asked for.
func (w *Window) Stop() {
	s := &w.link.stats
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.windows, w)
}

// Measure returns what happened from Watch until now.
func (w *Window) Measure() Measure {
	now := time.Now()
	m := Measure{Duration: now.Sub(w.began)}
	var waits [2]time.Duration
	w.link.mu.Lock()
	open := w.link.open()
	w.link.mu.Unlock()
	for _, c := range open {
		count, oldest := c.waiting()
		m.InFlight += int64(count)
		if count > 0 {
			m.Oldest = max(m.Oldest, now.Sub(oldest))
		}
		for i, f := range c.flows {
			if since := f.oldest(); !since.IsZero() {
				waits[i] = max(waits[i], min(now.Sub(since), m.Duration))
			}
		}
	}
	s := &w.link.stats
	s.mu.Lock()
	defer s.mu.Unlock()
	m.Opened = s.counts.opened - w.counts.opened
	m.Conns = w.open + m.Opened
	m.DialFailed = s.counts.dialFailed - w.counts.dialFailed
	m.Refused = s.counts.refused - w.counts.refused
	m.ClientEnded = s.counts.clientEnded - w.counts.clientEnded
	m.ServerEnded = s.counts.serverEnded - w.counts.serverEnded
	m.Reset = s.counts.reset - w.counts.reset
	m.Limited = s.counts.limited - w.counts.limited
	m.Cut = s.counts.cut - w.counts.cut
	m.Unread = s.counts.unread - w.counts.unread
	for i, t := range [2]*Traffic{&m.Request, &m.Response} {
		t.Offered = s.traffic[i].Offered - w.traffic[i].Offered
		t.Delivered = s.traffic[i].Delivered - w.traffic[i].Delivered
		t.Messages = s.traffic[i].Messages - w.traffic[i].Messages
		t.Backlog = w.backlog[i]
		t.Wait = max(w.wait[i], waits[i])
		t.CloseDelay, t.Delayed = w.closes[i], w.delayed[i]
		t.Rate = float64(t.Delivered) / m.Duration.Seconds()
	}
	m.RoundTrips = w.trips.summary()
	m.RoundTrips.Rate = float64(m.RoundTrips.Count) / m.Duration.Seconds()
	return m
}

func (s *stats) count(change func(*counts)) {
	s.mu.Lock()
	change(&s.counts)
	s.mu.Unlock()
}

// move adds bytes and messages to the totals of a direction, and to its backlog.
func (s *stats) move(index int, t Traffic, backlog int64) {
	s.mu.Lock()
	total := &s.traffic[index]
	total.Offered += t.Offered
	total.Delivered += t.Delivered
	total.Messages += t.Messages
	s.backlog[index] += backlog
	if backlog > 0 {
		for w := range s.windows {
			w.backlog[index] = max(w.backlog[index], s.backlog[index])
		}
	}
	s.mu.Unlock()
}

// waited notes how long a byte that has just been delivered had waited.
func (s *stats) waited(index int, since time.Time) {
	now := time.Now()
	s.mu.Lock()
	for w := range s.windows {
		w.wait[index] = max(w.wait[index], min(now.Sub(since), now.Sub(w.began)))
	}
	s.mu.Unlock()
}

// delayed notes how long bytes took that went through toxics.
func (s *stats) delayed(index int, since time.Time) {
	delay := time.Since(since)
	s.mu.Lock()
	for w := range s.windows {
		w.delayed[index] = max(w.delayed[index], delay)
	}
	s.mu.Unlock()
}

// closed notes how long the end of a stream waited to be passed on.
func (s *stats) closed(index int, since time.Time) {
	delay := time.Since(since)
	s.mu.Lock()
	for w := range s.windows {
		w.closes[index] = max(w.closes[index], delay)
	}
	s.mu.Unlock()
}

func (s *stats) roundTrip(began, ended time.Time) {
	s.mu.Lock()
	for w := range s.windows {
		w.trips.add(ended.Sub(began), !began.Before(w.began))
	}
	s.mu.Unlock()
}

// trips is a histogram of durations, 16 buckets for each power of two.
type trips struct {
	count    int64
	min, max time.Duration
	buckets  [64 * 16]int64

	whole    int64 // began within the window
	wholeMin time.Duration
}

func (t *trips) add(d time.Duration, whole bool) {
	if whole {
		if t.whole == 0 || d < t.wholeMin {
			t.wholeMin = d
		}
		t.whole++
	}
	if t.count == 0 || d < t.min {
		t.min = d
	}
	t.count++
	t.max = max(t.max, d)
	t.buckets[bucket(uint64(max(d, 0)))]++
}

// bucket numbers durations below 16 ns by themselves, others by their highest five bits.
func bucket(n uint64) int {
	if n < 16 {
		return int(n)
	}
	shift := bits.Len64(n) - 5
	return (shift+1)*16 + int(n>>shift) - 16
}

// lower is the least number in a bucket.
func lower(i int) uint64 {
	if i < 16 {
		return uint64(i)
	}
	return uint64(i%16+16) << (i/16 - 1)
}

func (t *trips) summary() RoundTrips {
	r := RoundTrips{Count: t.count, Min: t.min, Max: t.max, Whole: t.whole, WholeMin: t.wholeMin}
	left := (t.count + 1) / 2
	for i, n := range t.buckets {
		if left -= n; left <= 0 && t.count > 0 {
			r.P50 = min(max(time.Duration(lower(i)), t.min), t.max)
			break
		}
	}
	return r
}
