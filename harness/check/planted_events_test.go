package check

import (
	"slices"
	"strings"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

func eventBugs() []planted {
	return []planted{
		{PhantomEvent, nil, "event OrderPlaced-of-order-9", func() []history.Event { // the transaction was rolled back
			return story(func(w *world) {
				placed, _ := w.announce("orders", orderTopic, "OrderPlaced", buy(9, line("sku-1", 1)), 1)
				w.produce(placed)
				w.ignore("stock", placed)
			})
		}},
		{PublishedBeforeCommit, nil, "event OrderPlaced-of-order-9", func() []history.Event {
			events := story(func(w *world) { w.confirmed(buy(9, line("sku-1", 1))) })
			produce := where(events, crossed("Produce", history.Request, "OrderPlaced-of-order-9"))
			early := events[produce]
			events = slices.Delete(events, produce, produce+1)
			commit := slices.IndexFunc(events, crossed("COMMIT", history.Request, "OrderPlaced-of-order-9"))
			return slices.Insert(events, commit, early)
		}},
		{PublishedBeforeCommit, nil, "event OrderPlaced-of-order-9", func() []history.Event { // the first COMMIT failed
			return story(func(w *world) {
				p := buy(9, line("sku-1", 1))
				w.rolledBack(history.Wire{Kind: "COMMIT", Status: "ROLLBACK"}, p.id, "OrderPlaced-of-order-9")
				w.rolledBack(history.Wire{Kind: "Error", Status: "40001"}, p.id, "OrderPlaced-of-order-9")
				w.produce(&signal{id: "OrderPlaced-of-order-9", kind: "OrderPlaced", topic: orderTopic, version: 1, order: p, database: "orders"})
				w.confirmed(p)
			})
		}},
		{PublishedBeforeCommit, nil, "event OrderPlaced-of-order-9", func() []history.Event { // though a consumer's COMMIT came first
			return story(func(w *world) {
				w.commit("stock", "stock->postgres", []string{"OrderPlaced-of-order-9"})
				p := buy(9, line("sku-1", 1))
				w.produce(&signal{id: "OrderPlaced-of-order-9", kind: "OrderPlaced", topic: orderTopic, version: 1, order: p, database: "orders"})
				w.confirmed(p)
			})
		}},
		{LostEvent, nil, "order order-1", func() []history.Event {
			events := without(story(func(*world) {}), recorded(orderTopic, "OrderConfirmed-of-order-1"))
			return without(events, crossed("Produce", history.Response, "OrderConfirmed-of-order-1"))
		}},
		{SkippedRecord, nil, "stock-events/0", func() []history.Event {
			return without(story(func(*world) {}), changed("inbox", "event_id", "StockReserved-of-order-1"))
		}},
		{PayloadMismatch, nil, "event OrderPlaced-of-order-1", func() []history.Event {
			return edited(story(func(*world) {}), recorded(orderTopic, "OrderPlaced-of-order-1"), func(e *history.Event) {
				e.Record.Value = history.Bytes(strings.Replace(string(e.Record.Value), `"qty":2`, `"qty":7`, 1))
			})
		}},
		{PayloadMismatch, nil, "event StockReserved-of-order-1", func() []history.Event {
			return edited(story(func(*world) {}), recorded(stockTopic, "StockReserved-of-order-1"), func(e *history.Event) {
				e.Record.Key = history.Bytes("order-2")
			})
		}},
		{ReorderedEvent, nil, "order order-9", func() []history.Event {
			return story(func(w *world) {
				p := buy(9, line("sku-1", 1))
				placed := w.place(p)
				cancelled := w.decide(p, Cancelled, nil)
				w.publish(cancelled)
				w.ignore("stock", cancelled)
				w.publish(placed)
				w.ignore("stock", placed)
			})
		}},
		{SplitKey, nil, "order order-9", func() []history.Event {
			return story(func(w *world) {
				p := buy(9, line("sku-2", 1000))
				placed := w.place(p)
				w.publish(placed)
				rejected := w.reject(placed)
				w.publish(rejected)
				cancelled := w.decide(p, Cancelled, rejected)
				w.elsewhere = 1
				w.publish(cancelled)
				w.ignore("stock", cancelled)
			})
		}},
		{OutOfOrderApplication, []string{OffsetBeforeEffects}, "order order-9", func() []history.Event {
			return story(func(w *world) {
				p := buy(9, line("sku-2", 1000))
				placed := w.place(p)
				w.publish(placed)
				cancelled := w.decide(p, Cancelled, nil)
				w.publish(cancelled)
				w.ignore("stock", cancelled)
				rejected := w.reject(placed)
				w.publish(rejected)
				w.ignore("order", rejected)
			})
		}},
	}
}

func logBugs() []planted {
	deadLettered := func() []history.Event { return story(func(w *world) { w.deadLettered(buy(5, line("sku-2", 5))) }) }
	letter := recorded("dlt-order-events", "OrderPlaced-of-order-5")
	return []planted{
		{DeadLetterLoss, nil, "event OrderPlaced-of-order-5", func() []history.Event {
			events := without(deadLettered(), letter)
			return without(events, crossed("Produce", history.Response, "order-events"))
		}},
		{DeadLetterLoss, nil, "event order-events/7@0", func() []history.Event { // a poison record that was swallowed
			return story(func(w *world) {
				record := &history.Record{Topic: orderTopic, Partition: 7, Value: history.Bytes("nonsense"), Injected: true}
				w.append(record)
				w.ignore("stock", &signal{id: "order-events/7@0", at: *record})
			})
		}},
		{DeadLetterDamaged, nil, "event OrderPlaced-of-order-5", func() []history.Event {
			return edited(deadLettered(), letter, func(e *history.Event) { e.Record.Value = append(e.Record.Value, ' ') })
		}},
		{DeadLetterDamaged, nil, "event OrderPlaced-of-order-5", func() []history.Event {
			return edited(deadLettered(), letter, func(e *history.Event) { delete(e.Record.Headers, headerEventType) })
		}},
		{AppliedAndDead, nil, "event OrderPlaced-of-order-9", func() []history.Event {
			return story(func(w *world) {
				p := buy(9, line("sku-2", 1000))
				placed := w.place(p)
				w.publish(placed)
				w.publish(w.giveUp("stock", placed))
				rejected := w.reject(placed)
				w.publish(rejected)
				cancelled := w.decide(p, Cancelled, rejected)
				w.publish(cancelled)
				w.ignore("stock", cancelled)
			})
		}},
		{AppliedAndDead, nil, "event OrderPlaced-of-order-9", func() []history.Event { // another consumer recorded a replay
			return story(func(w *world) {
				p := buy(9, line("sku-2", 1000))
				placed := w.place(p)
				w.publish(placed)
				w.publish(w.giveUp("stock", placed))
				w.commit("orders", "order->postgres", nil, receipt("order", placed, Replayed))
				rejected := w.reject(placed)
				w.publish(rejected)
				cancelled := w.decide(p, Cancelled, rejected)
				w.publish(cancelled)
				w.ignore("stock", cancelled)
			})
		}},
		{SkippedRecord, []string{DeadLetterLoss}, "retry-order-events/7", func() []history.Event { // set aside, and forgotten
			return story(func(w *world) {
				w.append(w.retry(&history.Record{Topic: orderTopic, Partition: 7, Offset: 3, Value: history.Bytes("{")}))
			})
		}},
		{LostWrite, nil, "order-events/0", func() []history.Event {
			return edited(story(func(*world) {}), crossed("Produce", history.Response, "OrderPlaced-of-order-1"), func(e *history.Event) {
				e.Wire.Records = []string{"order-events/0@4711"}
			})
		}},
		{LostWrite, []string{LostAck}, "order-events/0", func() []history.Event { // the log was cut and written again
			return edited(story(func(*world) {}), crossed("Produce", history.Response, "OrderPlaced-of-order-1"), func(e *history.Event) {
				e.Wire.Tokens = []string{"order-77", "OrderPlaced-of-order-77", "OrderPlaced"}
			})
		}},
		{InconsistentOffset, nil, "order-events/0", func() []history.Event {
			events := story(func(*world) {})
			second := events[where(events, recorded(orderTopic, "OrderPlaced-of-order-1"))]
			other := *second.Record
			other.Value = history.Bytes(`{"orderId":"order-77"}`)
			return append(events, history.Event{Record: &other})
		}},
	}
}

// rolledBack is a COMMIT whose answer says that nothing was written.
func (w *world) rolledBack(answer history.Wire, tokens ...string) {
	w.rolledBackBy("order", answer, tokens...)
}

func (w *world) rolledBackBy(service string, answer history.Wire, tokens ...string) {
	w.msg++
	request := history.Wire{
		Link: service + "->postgres", Conn: 1, Msg: w.msg, Direction: history.Request, Kind: "COMMIT", Forwarded: true, Tokens: tokens,
	}
	w.emit(history.Event{Wire: &request})
	answer.Link, answer.Conn, answer.Msg, answer.Direction = service+"->postgres", 1, w.msg, history.Response
	w.emit(history.Event{Wire: &answer})
}

func livenessBugs() []planted {
	return []planted{
		{StuckOrder, nil, "order order-9", func() []history.Event {
			return standstill(story(func(w *world) {
				placed := w.place(buy(9, line("sku-1", 1)))
				w.publish(placed)
				w.ignore("stock", placed)
			}))
		}},
		{StuckPartition, nil, "stock-events/0", func() []history.Event {
			return standstill(edited(story(func(*world) {}), probed(history.ProbeGroup, "order/stock-events/"), func(e *history.Event) {
				e.Probe.OK = false
				e.Probe.Numbers["committed"] = -1
			}))
		}},
		{StuckOutbox, nil, "event StockReserved-of-order-1", func() []history.Event {
			return standstill(without(story(func(*world) {}),
				changed("outbox", "event_id", "StockReserved-of-order-1", "published_at", "2026-01-01 00:00:00")))
		}},
		{StuckOutbox, nil, "event StockReserved-of-order-1", func() []history.Event { // and so it is in no log: late, not lost
			events := without(story(func(*world) {}),
				changed("outbox", "event_id", "StockReserved-of-order-1", "published_at", "2026-01-01 00:00:00"))
			events = without(events, crossed("Produce", history.Response, "StockReserved-of-order-1"))
			return standstill(without(events, recorded(stockTopic, "StockReserved-of-order-1")))
		}},
		{StuckReservation, nil, "reservation rest-9", func() []history.Event {
			return standstill(story(func(w *world) { w.rest(9, "sku-1", 1, "") }))
		}},
	}
}
