package check

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// story is a history with one sound order in the baseline and then whatever act does.
func story(act func(*world)) []history.Event {
	var events []history.Event
	w := newWorld(func(e history.Event) { events = append(events, e) })
	w.supply("sku-1", 100)
	w.supply("sku-2", 100)
	w.phase(history.Baseline)
	w.confirmed(buy(1, line("sku-1", 2), line("sku-2", 3)))
	w.phase(history.Faults)
	act(w)
	w.finish()
	return events
}

type match func(history.Event) bool

// changed says that an event is a row of the table with these column values.
func changed(table string, columns ...string) match {
	return func(e history.Event) bool {
		if e.Row == nil || e.Row.Table != table {
			return false
		}
		for i := 0; i < len(columns); i += 2 {
			if e.Row.After[columns[i]] != columns[i+1] {
				return false
			}
		}
		return true
	}
}

func recorded(topic, event string) match {
	return func(e history.Event) bool {
		return e.Record != nil && e.Record.Topic == topic && e.Record.Headers[headerEventID] == event
	}
}

func crossed(kind, direction, token string) match {
	return func(e history.Event) bool {
		return e.Wire != nil && e.Wire.Kind == kind && e.Wire.Direction == direction && slices.Contains(e.Wire.Tokens, token)
	}
}

func probed(name, subject string) match {
	return func(e history.Event) bool {
		return e.Probe != nil && e.Probe.Name == name && strings.HasPrefix(e.Probe.Subject, subject)
	}
}

func completed(action, order string) match {
	return func(e history.Event) bool {
		return e.Op != nil && e.Op.Type != history.Invoke && e.Op.Action == action && e.Op.Order == order
	}
}

// where returns the index of the last match, which must exist.
func where(events []history.Event, is match) int {
	for i := len(events) - 1; i >= 0; i-- {
		if is(events[i]) {
			return i
		}
	}
	panic("the history has no such event")
}

func without(events []history.Event, is match) []history.Event {
	where(events, is)
	return slices.DeleteFunc(events, is)
}

// edited changes the last match in place.
func edited(events []history.Event, is match, edit func(*history.Event)) []history.Event {
	edit(&events[where(events, is)])
	return events
}

// standstill makes the drain end stuck instead of quiescent.
func standstill(events []history.Event) []history.Event {
	return edited(events, probed(history.ProbeQuiescent, ""), func(e *history.Event) {
		e.Probe.OK, e.Probe.Detail = false, "stuck; something is open"
		e.Probe.Numbers["idle_ms"] = 5001
	})
}

// planted is one bug, as its observers would see it.
type planted struct {
	name    string
	beside  []string // anomalies that cannot be avoided with it
	subject string
	history func() []history.Event
}

func bugs() []planted {
	return slices.Concat(stockBugs(), orderBugs(), eventBugs(), logBugs(), livenessBugs(), transactionBugs(), serviceBugs(), brokerBugs(), directBugs(), paymentBugs())
}

func stockBugs() []planted {
	return []planted{
		{NegativeStock, []string{Oversell}, "sku sku-3", func() []history.Event {
			return story(func(w *world) {
				w.supply("sku-3", 1)
				w.confirmed(buy(9, line("sku-3", 2)))
			})
		}},
		{ConservationBroken, []string{LostUpdate}, "sku sku-1", func() []history.Event {
			return edited(story(func(*world) {}), changed("stock", "product_id", "sku-1"), func(e *history.Event) {
				e.Row.After["available"] = "99"
			})
		}},
		{LostUpdate, nil, "sku sku-1", func() []history.Event { // the reserve of two units was overwritten
			return edited(story(func(*world) {}), changed("stock", "product_id", "sku-1", "reserved", "2"), func(e *history.Event) {
				e.Row.After["available"], e.Row.After["reserved"] = "100", "0"
			})
		}},
		{Oversell, []string{LostUpdate}, "sku sku-3", func() []history.Event { // two readers saw the last unit
			events := story(func(w *world) {
				w.supply("sku-3", 1)
				one, two := buy(8, line("sku-3", 1)), buy(9, line("sku-3", 1))
				a, b := w.place(one), w.place(two)
				w.publish(a)
				w.publish(b)
				ra, rb := w.reserve(a), w.reserve(b)
				w.publish(ra)
				w.publish(rb)
				ca, cb := w.decide(one, Confirmed, ra), w.decide(two, Confirmed, rb)
				w.publish(ca)
				w.publish(cb)
				w.settle(ca, LedgerSell)
				w.settle(cb, LedgerSell)
			})
			columns := [][2]string{{"1", "0"}, {"1", "0"}, {"0", "1"}, {"0", "1"}} // reserved and sold, after the first row
			for _, e := range events {
				if changed("stock", "product_id", "sku-3", "available", "1")(e) || !changed("stock", "product_id", "sku-3")(e) {
					continue
				}
				e.Row.After["available"], e.Row.After["reserved"], e.Row.After["sold"] = "0", columns[0][0], columns[0][1]
				columns = columns[1:]
			}
			return events
		}},
		{MissingDeduction, nil, "order order-9", func() []history.Event {
			return story(func(w *world) {
				p := buy(9, line("sku-1", 4))
				confirmed := w.untilConfirmed(p)
				w.commit("stock", "stock->postgres", nil, receipt("stock", confirmed, Applied),
					p.reserved("update", ReservationConfirmed, "StockReserved-of-order-9"))
			})
		}},
		{WrongQuantity, nil, "order order-9", func() []history.Event {
			return story(func(w *world) {
				p := buy(9, line("sku-1", 4))
				confirmed := w.untilConfirmed(p)
				p.lines = []history.Line{line("sku-1", 3)}
				w.settle(confirmed, LedgerSell)
			})
		}},
		{DoubleEffect, nil, "order order-9", func() []history.Event {
			return story(func(w *world) {
				p := buy(9, line("sku-1", 4))
				placed := w.place(p)
				w.publish(placed)
				reserved := w.reserve(placed)
				w.commit("stock", "stock->postgres", nil, w.moveAll(LedgerReserve, p, placed.id)...) // delivered again
				w.publish(reserved)
				confirmed := w.decide(p, Confirmed, reserved)
				w.publish(confirmed)
				w.settle(confirmed, LedgerSell)
			})
		}},
		{LeakedReservation, nil, "order order-9", func() []history.Event {
			return story(func(w *world) {
				p := buy(9, line("sku-1", 4))
				placed := w.place(p)
				w.publish(placed)
				reserved := w.reserve(placed)
				w.publish(reserved)
				cancelled := w.decide(p, Cancelled, nil)
				w.ignore("order", reserved)
				w.publish(cancelled)
				w.commit("stock", "stock->postgres", nil, receipt("stock", cancelled, Applied),
					p.reserved("update", ReservationReleased, reserved.id))
			})
		}},
		{OverCompensation, nil, "reservation rest-9", func() []history.Event { // another quantity
			return story(func(w *world) {
				w.rest(9, "sku-1", 2, "")
				w.commit("stock", "stock->postgres", nil, append(w.move(LedgerRelease, "", "rest-9", "", 1, line("sku-1", 1)),
					row("reservations", "update", "reservation_id", "rest-9", "status", ReservationReleased))...)
			})
		}},
		{OverCompensation, []string{DoubleEffect}, "order order-9", func() []history.Event { // released twice
			return story(func(w *world) {
				w.rest(9, "sku-1", 50, "forever")
				p := buy(9, line("sku-1", 4))
				w.cancelledByClient(p)
				w.commit("stock", "stock->postgres", nil, w.moveAll(LedgerRelease, p, "OrderCancelled-of-order-9")...)
			})
		}},
		{OverCompensation, []string{NegativeStock}, "order order-9", func() []history.Event { // an empty rollback
			return story(func(w *world) {
				p := buy(9, line("sku-1", 2))
				placed := w.place(p)
				w.publish(placed)
				rejected := w.reject(placed)
				w.publish(rejected)
				cancelled := w.decide(p, Cancelled, rejected)
				w.publish(cancelled)
				w.commit("stock", "stock->postgres", nil, append(w.moveAll(LedgerRelease, p, cancelled.id), receipt("stock", cancelled, Applied))...)
			})
		}},
	}
}

// untilConfirmed is the life of an order up to the event that stock must act on.
func (w *world) untilConfirmed(p *purchase) *signal {
	placed := w.place(p)
	w.publish(placed)
	reserved := w.reserve(placed)
	w.publish(reserved)
	confirmed := w.decide(p, Confirmed, reserved)
	w.publish(confirmed)
	return confirmed
}

func orderBugs() []planted {
	return []planted{
		{TerminalOverwritten, []string{LeakedReservation}, "order order-9", func() []history.Event { // a stale sweeper
			return story(func(w *world) {
				p := buy(9, line("sku-1", 4))
				w.confirmed(p)
				cancelled := w.decide(p, Cancelled, nil)
				w.publish(cancelled)
				w.ignore("stock", cancelled)
			})
		}},
		{IllegalTransition, nil, "order order-9", func() []history.Event { // a version is left out
			return story(func(w *world) {
				p := buy(9, line("sku-1", 4))
				placed := w.place(p)
				w.publish(placed)
				reserved := w.reserve(placed)
				w.publish(reserved)
				p.version++
				confirmed := w.decide(p, Confirmed, reserved)
				w.publish(confirmed)
				w.settle(confirmed, LedgerSell)
			})
		}},
		{IllegalTransition, nil, "order order-9", func() []history.Event { // born at its end
			return story(func(w *world) {
				p := buy(9, line("sku-1", 4))
				w.decide(p, Cancelled, nil)
				cancelled := &signal{
					id: "OrderCancelled-of-order-9", kind: "OrderCancelled", topic: orderTopic, version: 1, order: p,
					outbox: number(w.serial), database: "orders",
				}
				for i := range p.lines {
					w.commit("orders", "order->postgres", nil, p.line(i))
				}
				w.publish(cancelled)
				w.ignore("stock", cancelled)
			})
		}},
		{LostAck, nil, "order order-9", func() []history.Event {
			return story(func(w *world) {
				p := buy(9, line("sku-1", 4))
				w.answer(w.invoke(history.Place, p, 1), history.OK, 201, Pending, p)
			})
		}},
		{LostAck, nil, "order order-9", func() []history.Event { // of a cancellation
			return story(func(w *world) {
				p := buy(9, line("sku-1", 4))
				w.confirmed(p)
				w.answer(w.invoke(history.Cancel, p, 1), history.OK, 200, "", p)
			})
		}},
		{EffectAfterFailure, nil, "order order-9", func() []history.Event {
			return story(func(w *world) {
				p := buy(9, line("sku-2", 1000))
				op := w.invoke(history.Place, p, 1)
				placed := w.insert(p)
				w.answer(op, history.Fail, 400, "", p)
				w.afterRejection(placed)
			})
		}},
		{EffectAfterFailure, nil, "reservation rest-9", func() []history.Event { // confirmed, and the retry was told that there is nothing
			return story(func(w *world) {
				w.rest(9, "sku-1", 1, ReservationConfirmed)
				w.refused(history.ConfirmStock, "rest-9", 404)
			})
		}},
		{DuplicateOrder, nil, "key key-9", func() []history.Event {
			return story(func(w *world) {
				one, two := buy(9, line("sku-1", 1)), buy(10, line("sku-1", 1))
				two.key = one.key
				w.confirmed(one)
				w.confirmed(two)
			})
		}},
		{DuplicateOrder, nil, "key key-9", func() []history.Event { // rows without keys, and a lost first answer
			events := story(func(w *world) {
				one, two := buy(9, line("sku-2", 1000)), buy(10, line("sku-2", 1000))
				two.key = one.key
				op := w.invoke(history.Place, one, 1)
				w.post(history.Request, "", one.key)
				placed := w.insert(one)
				w.post(history.Response, "201", one.id)
				w.answer(op, history.Info, 0, "", one)
				w.afterRejection(placed)
				w.rejected(two)
			})
			for _, e := range events {
				if e.Row != nil {
					delete(e.Row.After, "idempotency_key")
				}
			}
			return events
		}},
		{UncommittedAnswer, nil, "order order-9", func() []history.Event {
			return edited(story(func(w *world) { w.rejected(buy(9, line("sku-2", 1000))) }), completed(history.Place, "order-9"),
				func(e *history.Event) { e.Op.State = Confirmed })
		}},
		{StaleCache, nil, "sku sku-2", func() []history.Event {
			return story(func(w *world) { w.counted("sku-1", 98); w.counted("sku-2", 96) })
		}},
		{StaleCache, nil, "sku sku-1", func() []history.Event { // it was lost
			return story(func(w *world) {
				w.emit(history.Event{Probe: &history.Probe{Name: history.ProbeCache, Subject: "sku-1", Detail: "there is no count"}})
			})
		}},
	}
}

// counted says what the cache holds of a SKU.
func (w *world) counted(sku string, available int64) {
	w.emit(history.Event{Probe: &history.Probe{
		Name: history.ProbeCache, Subject: sku, OK: true, Numbers: map[string]int64{"available": available},
	}})
}

func TestCacheAgrees(t *testing.T) {
	judged := func(events []history.Event) Result {
		result, ok := Judge(build(t, events), append(standard(), CacheAgrees)).Result(CacheAgrees.Name)
		require.True(t, ok)
		return result
	}
	sound := judged(story(func(w *world) { w.counted("sku-1", 98); w.counted("sku-2", 97) }))
	assert.Equal(t, Pass, sound.Verdict)
	assert.Equal(t, 2, sound.Examined)

	idle := judged(story(func(w *world) {
		w.supply("sku-3", 5)
		w.emit(history.Event{Probe: &history.Probe{Name: history.ProbeCache, Subject: "sku-3", Detail: "there is no count"}})
	}))
	assert.True(t, idle.Skipped, "nobody asked for it")

	busy := judged(edited(story(func(w *world) { w.counted("sku-1", 90) }), probed(history.ProbeQuiescent, ""), func(e *history.Event) {
		e.Probe.OK, e.Probe.Detail = false, "deadline; 3 changes of redis"
	}))
	assert.Equal(t, Unknown, busy.Verdict, "it may still be given back")
}

func (w *world) afterRejection(placed *signal) {
	w.publish(placed)
	rejected := w.reject(placed)
	w.publish(rejected)
	cancelled := w.decide(placed.order, Cancelled, rejected)
	w.publish(cancelled)
	w.ignore("stock", cancelled)
}

func TestEveryPlantedBugIsFoundByName(t *testing.T) {
	covered := map[string]bool{}
	for i, bug := range bugs() {
		covered[bug.name] = true
		t.Run(fmt.Sprintf("%02d-%s", i, bug.name), func(t *testing.T) {
			view := build(t, bug.history())
			judgement := Judge(view, promised(bug.name))
			want := append([]string{bug.name}, bug.beside...)
			slices.Sort(want)
			assert.Equal(t, want, names(judgement), "%+v", judgement.Anomalies())
			assert.Equal(t, Fail, judgement.Verdict)
			subjects := map[string]string{}
			for _, anomaly := range judgement.Anomalies() {
				require.NotEmpty(t, anomaly.Detail)
				require.NotEmpty(t, anomaly.Guarantee)
				require.NotEmpty(t, anomaly.Events, "no proof of %+v", anomaly)
				require.True(t, slices.IsSorted(anomaly.Events))
				if subjects[anomaly.Name] == "" {
					subjects[anomaly.Name] = anomaly.Subject
				}
				told := view.Story(anomaly)
				require.NotEmpty(t, told)
				kept := slices.DeleteFunc(told, func(m Moment) bool { return m.Seq == 0 })
				require.LessOrEqual(t, len(kept), storyLength)
			}
			assert.Equal(t, bug.subject, subjects[bug.name])
		})
	}
	for _, kind := range Kinds {
		assert.True(t, covered[kind.Name], "no planted bug for %s", kind.Name)
	}
	assert.Len(t, Kinds, len(covered), "an anomaly that Kinds does not list was planted")
}
