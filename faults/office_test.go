package faults

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/stack"
)

// TestSuccession tells who took an office over, when, and whether anybody holds it.
func TestSuccession(t *testing.T) {
	nobody := errors.New("none at the moment")
	began := time.Now().Add(-time.Hour)
	s := &succession{first: "kafka-1", began: began}
	at := func(ms int) time.Time { return began.Add(time.Duration(ms) * time.Millisecond) }

	s.answered("kafka-1", nil, at(1))
	heir, _ := s.succeeded()
	assert.Empty(t, heir)
	assert.Zero(t, s.unheld())

	s.answered("", nobody, at(2))
	s.answered("", nobody, began.Add(59*time.Minute))
	assert.InDelta(t, time.Hour, s.unheld(), float64(time.Minute))

	s.answered("kafka-3", nil, at(400))
	s.answered("kafka-1", nil, at(900))
	s.answered("kafka-2", nil, at(950))
	heir, took := s.succeeded()
	assert.Equal(t, "kafka-3", heir, "the first, though another followed")
	assert.Equal(t, 400*time.Millisecond, took)
	assert.Zero(t, s.unheld())
}

// TestFollow asks until it is told to end, and leaves no question open; the context of Inject does not end it.
func TestFollow(t *testing.T) {
	inject, cancel := context.WithCancel(t.Context())
	asked := make(chan struct{}, 1000)
	s := follow(inject, office{holder: func(context.Context) (string, error) {
		asked <- struct{}{}
		if len(asked) > 3 {
			return "kafka-2", nil
		}
		return "kafka-1", nil
	}}, "kafka-1")
	cancel()
	require.Eventually(t, func() bool { heir, _ := s.succeeded(); return heir == "kafka-2" }, 10*time.Second, time.Millisecond)
	s.end()
	s.end()
	n := len(asked)
	time.Sleep(2 * askEvery)
	assert.Len(t, asked, n)

	asking := make(chan struct{})
	stuck := follow(t.Context(), office{holder: func(ctx context.Context) (string, error) {
		close(asking)
		<-ctx.Done()
		return "", ctx.Err()
	}}, "kafka-1")
	<-asking
	stuck.end()
	assert.Zero(t, stuck.unheld(), "a question that was cut short says nothing")
}

// TestAcknowledgements measures the longest time without one.
func TestAcknowledgements(t *testing.T) {
	ack := func(ms int, record string) history.Event {
		return history.Event{At: time.Duration(ms) * time.Millisecond, Wire: &history.Wire{
			Kind: "Produce", Direction: history.Response, Records: []string{record}}}
	}
	refused := ack(250, "")
	refused.Wire.Records, refused.Wire.Status = nil, "NOT_ENOUGH_REPLICAS"
	a := acknowledgements{partition: "order-events/0", last: 100 * time.Millisecond}
	a.events = func() []history.Event { return []history.Event{ack(200, "order-events/01@7"), refused} }
	assert.Zero(t, a.pause())
	assert.Equal(t, "no Produce to order-events/0 was acknowledged since", a.String())

	a.events = func() []history.Event {
		return []history.Event{ack(200, "order-events/01@7"), refused, ack(400, "order-events/0@8"), ack(450, "order-events/0@9")}
	}
	assert.Equal(t, 300*time.Millisecond, a.pause())
}

type namedNode struct {
	stack.Node
	name string
}

func (n namedNode) Name() string { return n.name }

func TestMajority(t *testing.T) {
	three := []stack.Node{namedNode{name: "kafka-1"}, namedNode{name: "kafka-2"}, namedNode{name: "kafka-3"}}
	assert.Equal(t, []stack.Node{three[2], three[0]}, majority(three, "kafka-3"))
	assert.Equal(t, []stack.Node{three[0], three[1]}, majority(three, "kafka-1"))
}

func TestTally(t *testing.T) {
	assert.Equal(t, "none", tally(nil))
	assert.Equal(t, "order 12, stock 3", tally(map[string]int{"stock": 3, "order": 12}))
}

// struck is an injection with evidence that the test chooses.
type struck struct {
	harness.Injection
	bit bool
}

func (s struck) Evidence() harness.Evidence { return harness.Evidence{Bit: s.bit, Effect: "struck"} }

// TestDeposed demands both: the broker was hit, and another has its office.
func TestDeposed(t *testing.T) {
	began := time.Now()
	for _, test := range []struct {
		name          string
		hit, reelects bool
		holder        string
		bit           bool
		effect        string
	}{
		{"hit, and another took over", true, false, "kafka-2", true, "kafka-1 was the controller; struck; 5ms later kafka-2 took over"},
		{"hit, and nobody took over", true, false, "kafka-1", false, "kafka-1 was the controller; struck; no other broker took over since"},
		{"another took over, though the hit failed", false, false, "kafka-2", false, "kafka-1 was the controller; struck; 5ms later kafka-2 took over"},
		{"hit, and back in office", true, true, "kafka-1", true, "kafka-1 was the controller; struck; no other broker took over since"},
	} {
		d := &deposing{fault: deposed{reelects: test.reelects}, holder: "kafka-1", struck: struck{bit: test.hit}}
		d.heir = &succession{office: office{duty: "was the controller"}, first: "kafka-1", began: began}
		d.heir.answered(test.holder, nil, began.Add(5*time.Millisecond))
		assert.Equal(t, harness.Evidence{Bit: test.bit, Effect: test.effect}, d.Evidence(), test.name)
	}
}

func produce(direction, link, status string, records ...string) history.Event {
	return history.Event{Wire: &history.Wire{Kind: "Produce", Direction: direction, Link: link, Status: status, Records: records}}
}

// TestProduced counts what producers asked for and were granted, and refusals for want of replicas alone.
func TestProduced(t *testing.T) {
	held := produce(history.Request, "order->kafka-1", "")
	held.Wire.Held = "held"
	events := []history.Event{
		{Process: &history.Process{Name: "kafka-1"}}, held,
		produce(history.Request, "order->kafka-1", "", "order-events/0"),
		produce(history.Request, "stock->kafka-2", "", "stock-events/0"),
		produce(history.Response, "order->kafka-1", "NOT_ENOUGH_REPLICAS"),
		produce(history.Response, "order->kafka-1", "NOT_ENOUGH_REPLICAS_AFTER_APPEND"),
		produce(history.Response, "order->kafka-1", "REQUEST_TIMED_OUT"),
		produce(history.Response, "stock->kafka-2", "", "stock-events/0@4"),
	}
	m := &minority{events: func() []history.Event { return events }}
	asked, acks := m.produced()
	assert.Equal(t, 2, asked)
	assert.Equal(t, 1, acks)
	assert.Equal(t, map[string]int{"order": 2}, refusals(events))
}

// TestWithoutInject asks each fault on the cluster for evidence though nothing was broken: there is none, and to heal
// breaks nothing.
func TestWithoutInject(t *testing.T) {
	env := &harness.Env{}
	for _, fault := range []harness.Fault{
		LeaderKill("order-events/0"), LeaderPause("order-events/0"), LeaderRestart("order-events/0"), UncleanRestart("order-events/0"),
		ControllerKill(), CoordinatorKill("stock"), MajorityKill(), Isolate("kafka-2"), Elect("order-events"), MinISR("order-events"),
	} {
		injection := fault.Prepare(env)
		evidence := injection.Evidence()
		assert.False(t, evidence.Bit, fault.Name())
		assert.NotEmpty(t, evidence.Effect, fault.Name())
		assert.NoError(t, injection.Heal(t.Context()), fault.Name())
	}
}
