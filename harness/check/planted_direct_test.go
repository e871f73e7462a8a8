package check

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// directBugs are of systems that produce events without an outbox.
func directBugs() []planted {
	return []planted{
		{DuplicateRecord, nil, "event OrderPlaced-of-order-9", func() []history.Event { // the acknowledgement was lost
			return story(func(w *world) {
				p := buy(9, line("sku-1", 1))
				placed := w.place(p)
				w.produce(placed)
				w.publish(placed)
				w.settleOrder(placed)
			})
		}},
		{AbortedRead, nil, "event OrderPlaced-of-order-9", func() []history.Event { // and its transaction was repeated
			return abortedFirst(Applied)
		}},
		{AbortedRead, nil, "event OrderPlaced-of-order-9", func() []history.Event { // there was nothing to do
			return story(func(w *world) {
				s, _ := w.announce("orders", orderTopic, "OrderPlaced", buy(9, line("sku-1", 1)), 1)
				w.abort(s)
				w.ignore("stock", s)
			})
		}},
	}
}

// abort appends an event in a transaction that is aborted.
func (w *world) abort(s *signal) {
	record := w.record(s)
	record.Aborted = true
	w.append(record)
	s.at = *record
}

// abortedFirst is an order whose event was in an aborted transaction, and then in one that committed. If outcome is not
// empty, the stock service handled the first.
func abortedFirst(outcome string) []history.Event {
	return story(func(w *world) {
		p := buy(9, line("sku-2", 1000))
		placed := w.place(p)
		w.abort(placed)
		if outcome != "" {
			rejected := w.reject(placed)
			w.publish(placed)
			w.publish(rejected)
			cancelled := w.decide(p, Cancelled, rejected)
			w.publish(cancelled)
			w.ignore("stock", cancelled)
			return
		}
		w.afterRejection(placed)
	})
}

// promised are the guarantees of a system that promises what a planted bug breaks.
func promised(anomaly string) []Guarantee {
	switch anomaly {
	case DuplicateRecord:
		return append(slices.Clone(OrderAndStock), noDuplicateRecord)
	case AbortedRead:
		return append(slices.Clone(OrderAndStock), noAbortedRead)
	case StaleCache:
		return append(slices.Clone(OrderAndStock), CacheAgrees)
	default:
		return standard()
	}
}

func TestAnEventOfAnAbortedTransactionMayBeCommittedLater(t *testing.T) {
	judgement := Judge(build(t, abortedFirst("")), promised(AbortedRead))
	require.Equal(t, Pass, judgement.Verdict, "%v", judgement.Anomalies())
	result, ok := judgement.Result(noAbortedRead.Name)
	require.True(t, ok)
	assert.Equal(t, 1, result.Examined)
}

func TestDuplicatesOfTheHarnessAreNotTheProducers(t *testing.T) {
	events := story(func(w *world) {
		p := buy(9, line("sku-1", 1))
		w.confirmed(p)
		duplicate := w.record(&signal{id: "OrderPlaced-of-order-9", kind: "OrderPlaced", topic: orderTopic, version: 1, order: p})
		duplicate.Injected = true
		w.append(duplicate)
	})
	judgement := Judge(build(t, events), promised(DuplicateRecord))
	require.Equal(t, Pass, judgement.Verdict, "%v", judgement.Anomalies())
}

// direct is a story without an outbox.
func direct(act func(*world)) []history.Event {
	return slices.DeleteFunc(story(act), func(e history.Event) bool { return e.Row != nil && e.Row.Table == "outbox" })
}

// TestAPlacementMayBeLostIfItsOrderIsCancelled judges by no-lost-decision instead of no-lost-event.
func TestAPlacementMayBeLostIfItsOrderIsCancelled(t *testing.T) {
	decisions := []Guarantee{noLostDecision}
	unannounced := direct(func(w *world) {
		p := buy(9, line("sku-1", 1))
		w.place(p)
		cancelled := w.decide(p, Cancelled, nil)
		w.publish(cancelled)
		w.ignore("stock", cancelled)
	})
	require.Equal(t, []string{LostEvent}, names(Judge(build(t, unannounced), []Guarantee{noLostEvent})))
	require.Equal(t, Pass, Judge(build(t, unannounced), decisions).Verdict)

	silent := direct(func(w *world) {
		p := buy(9, line("sku-1", 1))
		w.publish(w.place(p))
		w.decide(p, Cancelled, nil)
	})
	require.Equal(t, []string{LostEvent}, names(Judge(build(t, silent), decisions)), "nobody was told of the cancellation")

	pending := direct(func(w *world) { w.place(buy(9, line("sku-1", 1))) })
	require.Equal(t, []string{LostEvent}, names(Judge(build(t, pending), decisions)), "it was not cancelled")
}

// TestOptionalGuaranteesAreKnownByName lets a saved run be judged again by them.
func TestOptionalGuaranteesAreKnownByName(t *testing.T) {
	for _, guarantee := range Optional {
		selected, unknown := Named([]string{guarantee.Name})
		require.Empty(t, unknown)
		require.Len(t, selected, 1)
		require.NotNil(t, selected[0].Check)
	}
}
