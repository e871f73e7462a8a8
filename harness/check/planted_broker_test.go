package check

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// unreplicated removes a record that its leader acknowledged and took with it, before any consumer was shown it.
func unreplicated(events []history.Event, topic, event string) []history.Event {
	return without(events, recorded(topic, event))
}

// lostLive makes the brokers lose a record that the tap had seen, and, with in, put another in its place.
func lostLive(events []history.Event, topic, event string, in *history.Record) []history.Event {
	lost := events[where(events, recorded(topic, event))].Record
	detail := history.TopicDetail{Cut: []int64{lost.Offset}}
	if in != nil {
		detail = history.TopicDetail{Replaced: []int64{lost.Offset}}
		in.Topic, in.Partition, in.Offset = lost.Topic, lost.Partition, lost.Offset
		drain := where(events, func(e history.Event) bool { return e.Phase != nil && e.Phase.Name == history.Drain })
		events = slices.Insert(events, drain, history.Event{Seq: 1e6, Record: in})
	}
	return edited(events, probed(history.ProbeTopic, (&Partition{Topic: topic, Number: lost.Partition}).String()), func(e *history.Event) {
		e.Probe.Detail = detail.String()
	})
}

// twice is an order of which an event was produced again: the log has it at two offsets.
func twice() []history.Event {
	return story(func(w *world) {
		p := buy(9, line("sku-2", 1000))
		placed := w.place(p)
		w.publish(placed)
		rejected := w.reject(placed)
		w.publish(rejected)
		cancelled := w.decide(p, Cancelled, rejected)
		w.publish(cancelled)
		w.ignore("stock", cancelled)
		w.produce(cancelled)
	})
}

func brokerBugs() []planted {
	poisoned := func() []history.Event {
		return story(func(w *world) {
			record := &history.Record{Topic: orderTopic, Partition: 7, Value: history.Bytes("nonsense"), Injected: true}
			w.append(record)
			w.publish(w.giveUp("stock", &signal{id: "order-events/7@0", order: &purchase{}, at: *record}))
		})
	}
	return []planted{
		{LostAck, []string{LostEvent, LostWrite}, "order order-1", func() []history.Event {
			return unreplicated(story(func(*world) {}), orderTopic, "OrderConfirmed-of-order-1")
		}},
		{LostAck, []string{DeadLetterLoss, LostWrite}, "order order-5", func() []history.Event {
			return unreplicated(story(func(w *world) { w.deadLettered(buy(5, line("sku-2", 5))) }), "dlt-order-events", "OrderPlaced-of-order-5")
		}},
		{LostAck, []string{DeadLetterLoss, LostWrite}, "dlt-order-events/7", func() []history.Event { // nothing names its event
			return without(poisoned(), func(e history.Event) bool { return e.Record != nil && e.Record.Topic == "dlt-order-events" })
		}},
		{LostAck, []string{InconsistentOffset, LostEvent, LostWrite}, "order order-1", func() []history.Event {
			return lostLive(story(func(*world) {}), orderTopic, "OrderConfirmed-of-order-1", nil)
		}},
		{LostAck, []string{InconsistentOffset, LostEvent}, "order order-1", func() []history.Event { // its offset went to another of the order
			again := *twice()[where(twice(), recorded(orderTopic, "OrderPlaced-of-order-1"))].Record
			return lostLive(story(func(*world) {}), orderTopic, "OrderConfirmed-of-order-1", &again)
		}},
		{InconsistentOffset, []string{LostWrite}, "order-events/0", func() []history.Event { // its event survives at another offset
			events := twice()
			return lostLive(events, orderTopic, "OrderCancelled-of-order-9", nil)
		}},
	}
}

// held is the answer to the Produce of an event, held by the tap, and what became of it.
func held(events []history.Event, event string, steps ...string) []history.Event {
	at := where(events, crossed("Produce", history.Response, event))
	var told []history.Event
	for _, step := range steps {
		answer := *events[at].Wire
		answer.Held = step
		told = append(told, history.Event{Seq: events[at].Seq, Wire: &answer})
	}
	return slices.Replace(events, at, at+1, told...)
}

func TestAnAnswerThatNeverReachedTheProducerAcknowledgesNothing(t *testing.T) {
	const event = "OrderConfirmed-of-order-1"
	for name, test := range map[string]struct {
		steps        []string // "" is the answer on its way
		acknowledged bool
	}{
		"passed":        {[]string{""}, true},
		"forwarded":     {[]string{"held", "", "forwarded"}, true},
		"dropped":       {[]string{"held", "dropped"}, false},
		"undeliverable": {[]string{"held", "", "undeliverable"}, false},
		"kept":          {[]string{"held"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			judgement := judge(t, held(unreplicated(story(func(*world) {}), orderTopic, event), event, test.steps...))
			assert.Equal(t, test.acknowledged, slices.Contains(names(judgement), LostAck), "%v", names(judgement))
			assert.Contains(t, names(judgement), LostWrite, "the broker said so in any case")
		})
	}
}

func survival(t *testing.T, judgement Judgement) Result {
	result, ok := judgement.Result(acknowledgedRecordsSurvive.Name)
	require.True(t, ok)
	return result
}

func TestAcknowledgedRecordsAreCounted(t *testing.T) {
	// What is produced twice is one event.
	sound := survival(t, judge(t, story(func(*world) {})))
	assert.Equal(t, Pass, sound.Verdict)
	assert.Equal(t, 3, sound.Examined, "placed, reserved, confirmed")
	assert.Equal(t, 3+3, survival(t, judge(t, twice())).Examined)

	silent := slices.DeleteFunc(story(func(*world) {}), func(e history.Event) bool {
		return e.Wire != nil && e.Wire.Kind == "Produce" && e.Wire.Direction == history.Response
	})
	none := survival(t, judge(t, silent)) // acks=0
	assert.Zero(t, none.Examined)
	assert.True(t, none.Skipped)
}

func TestAnAcknowledgedEventThatWaitsIsNotLost(t *testing.T) {
	const event = "OrderConfirmed-of-order-1"
	marked := changed("outbox", "event_id", event, "published_at", "2026-01-01 00:00:00")
	result := survival(t, judge(t, without(unreplicated(story(func(*world) {}), orderTopic, event), marked)))
	assert.Equal(t, Unknown, result.Verdict)
	assert.Contains(t, result.Reason, "1 acknowledged event is not in the log, and some wait in an outbox")
}

func TestWhatIsAcknowledgedDuringADrainThatDoesNotEnd(t *testing.T) {
	const event = "OrderConfirmed-of-order-1"
	restless := func(during bool) Result {
		events := unreplicated(story(func(*world) {}), orderTopic, event)
		events = edited(events, probed(history.ProbeQuiescent, ""), func(e *history.Event) { e.Probe.OK, e.Probe.Detail = false, "deadline" })
		if during {
			answer := where(events, crossed("Produce", history.Response, event))
			e := events[answer]
			events = slices.Delete(events, answer, answer+1)
			drain := where(events, func(e history.Event) bool { return e.Phase != nil && e.Phase.Name == history.Drain })
			e.Seq = events[drain].Seq + 1
			events = slices.Insert(events, drain+1, e)
		}
		return survival(t, judge(t, events))
	}
	assert.Equal(t, Fail, restless(false).Verdict)
	assert.Equal(t, Unknown, restless(true).Verdict, "it may have come after the topics were read")
}

// An offset that was given twice does not say which record a consumer meant to be done with.
func TestOffsetsGivenTwiceAccuseNoConsumer(t *testing.T) {
	events := story(func(w *world) {
		p := buy(9, line("sku-2", 1000))
		placed := w.place(p)
		w.publish(placed)
		rejected := w.reject(placed)
		w.publish(placed)
		w.advance(receipt("stock", placed, Ignored)) // past the copy that a broker will lose
		w.publish(rejected)
		cancelled := w.decide(p, Cancelled, rejected)
		w.publish(cancelled)
		w.ignore("stock", cancelled)
	})
	again := *events[where(events, recorded(orderTopic, "OrderCancelled-of-order-9"))].Record
	events = lostLive(events, orderTopic, "OrderPlaced-of-order-9", &again) // the next in its place is handled later
	assert.Equal(t, []string{InconsistentOffset}, names(judge(t, events)))
}

// The letter of a record that a broker lost afterwards is whole, and nobody's loss.
func TestADeadLetterOfALostRecordIsWhole(t *testing.T) {
	events := story(func(w *world) { w.deadLettered(buy(5, line("sku-2", 5))) })
	events = lostLive(events, orderTopic, "OrderPlaced-of-order-5", nil)
	assert.NotContains(t, names(judge(t, events)), DeadLetterDamaged)
	assert.NotContains(t, names(judge(t, events)), DeadLetterLoss)
}
