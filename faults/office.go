package faults

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/history"
)

// office is a duty in the Kafka cluster that one broker has at a time.
type office struct {
	duty string // what its holder does: "led order-events/0"
	// holder asks the brokers; an error when nobody has the duty at the moment.
	holder func(context.Context) (broker string, err error)
	// partition is the one led, "order-events/0"; empty for other duties.
	partition string
}

// leads is the duty to lead a partition, "order-events/0".
func leads(env *harness.Env, partition string) office {
	topic, number := splitPartition(partition)
	return office{duty: "led " + partition, partition: partition, holder: func(ctx context.Context) (string, error) {
		return env.Leader(ctx, topic, number)
	}}
}

// splitPartition takes the name of a partition apart, which Validate has checked.
func splitPartition(name string) (topic string, number int32) {
	topic, text, _ := strings.Cut(name, "/")
	n, _ := strconv.ParseInt(text, 10, 32)
	return topic, int32(n)
}

func controls(env *harness.Env) office {
	return office{duty: "was the controller", holder: env.Controller}
}

// succession follows who holds an office, until end is called.
type succession struct {
	office office
	first  string // who held it at the start
	began  time.Time
	cancel context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex
	heir   string        // the first other broker that held it
	took   time.Duration // until it did
	vacant time.Time     // since when nobody said that anybody held it; zero when somebody did at last
}

// askEvery is the time between two questions who holds an office.
const askEvery = 50 * time.Millisecond

// follow begins to ask who holds the office. The context ends with the fault, not with Inject.
func follow(ctx context.Context, o office, first string) *succession {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s := &succession{office: o, first: first, began: time.Now(), cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		s.ask(ctx)
	}()
	return s
}

func (s *succession) ask(ctx context.Context) {
	ticker := time.NewTicker(askEvery)
	defer ticker.Stop()
	for ctx.Err() == nil {
		holder, err := s.office.holder(ctx)
		if ctx.Err() != nil {
			return
		}
		s.answered(holder, err, time.Now())
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

func (s *succession) answered(holder string, err error, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil && s.vacant.IsZero():
		s.vacant = now
	case err == nil:
		s.vacant = time.Time{}
		if s.heir == "" && holder != s.first {
			s.heir, s.took = holder, now.Sub(s.began)
		}
	}
}

// end stops asking. It may be called more than once.
func (s *succession) end() {
	s.cancel()
	<-s.done
}

// succeeded names the first other holder and how long it took, or nobody.
func (s *succession) succeeded() (heir string, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heir, s.took
}

// unheld is how long nobody has been said to hold the office; 0 when somebody was at last.
func (s *succession) unheld() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.vacant.IsZero() {
		return 0
	}
	return time.Since(s.vacant)
}

// acknowledgements follows the acknowledged Produce requests of one partition at the taps.
type acknowledgements struct {
	partition string
	last      time.Duration // before the start; 0 when there was none
	events    func() []history.Event
}

func watchAcknowledgements(env *harness.Env, partition string) acknowledgements {
	a := acknowledgements{partition: partition, events: env.Since()}
	for _, event := range env.Log() {
		if a.in(event) {
			a.last = event.At
		}
	}
	return a
}

func (a acknowledgements) in(event history.Event) bool {
	if w := event.Wire; acknowledged(w) {
		for _, record := range w.Records {
			if strings.HasPrefix(record, a.partition+"@") {
				return true
			}
		}
	}
	return false
}

// pause is the longest time between two acknowledgements of which the second came after the start; 0 when none came.
func (a acknowledgements) pause() time.Duration {
	longest, last := time.Duration(0), a.last
	for _, event := range a.events() {
		if a.in(event) {
			longest, last = max(longest, event.At-last), event.At
		}
	}
	return longest
}

// acknowledged says whether w is a broker's answer, on its way to a producer, that records are in the log.
func acknowledged(w *history.Wire) bool {
	return w != nil && w.Kind == "Produce" && w.Direction == history.Response && w.Held == "" && len(w.Records) > 0
}

// String tells the pause, for an effect.
func (a acknowledgements) String() string {
	if pause := a.pause(); pause > 0 {
		return fmt.Sprintf("no Produce to %s was acknowledged for %v", a.partition, milliseconds(pause))
	}
	return "no Produce to " + a.partition + " was acknowledged since"
}
