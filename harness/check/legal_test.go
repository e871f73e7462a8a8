package check

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// What is unusual but legal must not alarm.
func TestLegalHistoriesRaiseNoAlarm(t *testing.T) {
	legal := map[string]func(*world){
		"a record is repeated out of order: v1 v2 v1": func(w *world) {
			p := buy(9, line("sku-2", 1000))
			placed := w.place(p)
			w.publish(placed)
			rejected := w.reject(placed)
			w.publish(rejected)
			cancelled := w.decide(p, Cancelled, rejected)
			w.publish(cancelled)
			w.produce(placed)
			w.ignore("stock", cancelled)
		},
		"the harness writes a duplicate": func(w *world) {
			w.confirmed(buy(9, line("sku-1", 1)))
			duplicate := w.record(&signal{
				id: "OrderPlaced-of-order-9", kind: "OrderPlaced", topic: orderTopic, version: 1, order: buy(9, line("sku-1", 1)),
			})
			duplicate.Injected = true
			w.append(duplicate)
		},
		"a dead letter is put back and applied": func(w *world) {
			p := buy(9, line("sku-1", 1))
			placed := w.place(p)
			w.publish(placed)
			w.publish(w.giveUp("stock", placed))
			again := w.record(placed)
			again.Injected = true
			w.append(again)
			w.settleOrder(placed)
		},
		"an order is swept while its reservation is on the way": func(w *world) {
			p := buy(9, line("sku-1", 1))
			placed := w.place(p)
			w.publish(placed)
			cancelled := w.decide(p, Cancelled, nil)
			reserved := w.reserve(placed)
			w.publish(reserved)
			w.ignore("order", reserved)
			w.publish(cancelled)
			w.settle(cancelled, LedgerRelease)
		},
		"an answer is lost and the attempt repeated": func(w *world) {
			p := buy(9, line("sku-1", 1))
			op := w.invoke(history.Place, p, 1)
			placed := w.insert(p)
			w.answer(op, history.Info, 0, "", p)
			w.publish(placed)
			w.answer(w.invoke(history.Place, p, 2), history.OK, 200, Pending, p)
			w.settleOrder(placed)
		},
		"an attempt never ends and nothing was written": func(w *world) {
			w.invoke(history.Place, buy(9, line("sku-1", 1)), 1)
		},
		"a request fails for certain and nothing was written": func(w *world) {
			p := buy(9, line("sku-1", 1))
			w.answer(w.invoke(history.Place, p, 1), history.Fail, 400, "", p)
		},
		"a service dies between COMMIT and its answer, and its successor publishes": func(w *world) {
			p := buy(9, line("sku-1", 1))
			op := w.invoke(history.Place, p, 1)
			sink := w.sink
			w.sink = func(e history.Event) {
				if e.Wire == nil || e.Wire.Kind != "COMMIT" || e.Wire.Direction != history.Response {
					sink(e)
					return
				}
				w.seq--
			}
			placed := w.insert(p)
			w.sink = sink
			w.answer(op, history.Info, 0, "", p)
			w.emit(history.Event{Process: &history.Process{Name: "order", PID: 100, State: history.Exited, Signal: "killed"}})
			w.publish(placed)
			w.settleOrder(placed)
		},
		"a COMMIT is answered by a rollback and the transaction is repeated": func(w *world) {
			p := buy(9, line("sku-1", 1))
			w.rolledBack(history.Wire{Kind: "COMMIT", Status: "ROLLBACK"}, p.id, "OrderPlaced-of-order-9")
			w.confirmed(p)
		},
		"an aborted record announces what was never committed": func(w *world) {
			s, _ := w.announce("orders", orderTopic, "OrderPlaced", buy(9, line("sku-1", 1)), 1)
			record := w.record(s)
			record.Aborted = true
			w.append(record)
		},
		"a row is written again without a transition": func(w *world) {
			p := buy(9, line("sku-1", 1))
			w.confirmed(p)
			w.commit("orders", "order->postgres", nil, p.row("update", Confirmed, "OrderConfirmed-of-order-9"))
		},
		"old inbox rows are purged": func(w *world) {
			w.commit("stock", "stock->postgres", nil, row("inbox", "delete",
				"consumer", "stock", "event_id", "OrderPlaced-of-order-1", "outcome", Applied, "topic", orderTopic))
		},
		"a reservation over HTTP that never expires stays open": func(w *world) { w.rest(9, "sku-1", 1, "forever") },
		"a cancellation is answered with the state that was faster": func(w *world) {
			p := buy(9, line("sku-1", 1))
			w.confirmed(p)
			w.answer(w.invoke(history.Cancel, p, 1), history.OK, 200, Confirmed, p)
		},
		"two dead letters of one order are put back and applied": func(w *world) {
			p := buy(9, line("sku-1", 1))
			placed := w.place(p)
			w.publish(placed)
			cancelled := w.decide(p, Cancelled, nil)
			w.publish(cancelled)
			w.publish(w.giveUp("stock", placed))
			w.publish(w.giveUp("stock", cancelled))
			for _, s := range []*signal{placed, cancelled} {
				again := w.record(s)
				again.Injected = true
				w.append(again)
			}
			reserved := w.reserve(placed)
			w.publish(reserved)
			w.ignore("order", reserved)
			w.settle(cancelled, LedgerRelease)
		},
		"a dead letter is replayed": func(w *world) {
			p := buy(9, line("sku-2", 1000))
			placed := w.place(p)
			w.publish(placed)
			w.publish(w.giveUp("stock", placed))
			rejected, outbox := w.announce("stock", stockTopic, "StockRejected", p, 1)
			w.commit("stock", "stock->postgres", []string{placed.id, p.id, rejected.id},
				w.replay("stock", placed), p.reserved("insert", ReservationRejected, rejected.id), outbox)
			w.publish(rejected)
			cancelled := w.decide(p, Cancelled, rejected)
			w.publish(cancelled)
			w.ignore("stock", cancelled)
		},
		"records of one order wait in the retry topic, and pass each other there": func(w *world) {
			p := buy(9, line("sku-1", 1))
			placed := w.place(p)
			w.publish(placed)
			w.append(w.retry(&placed.at))
			cancelled := w.decide(p, Cancelled, nil)
			w.publish(cancelled)
			w.append(w.retry(&cancelled.at))
			w.append(w.retry(&placed.at))
			reserved := w.reserve(placed)
			w.publish(reserved)
			w.ignore("order", reserved)
			w.settle(cancelled, LedgerRelease)
		},
		"another service's messages carry the event id": func(w *world) {
			w.emit(history.Event{Wire: &history.Wire{
				Link: "stock->kafka-1", Conn: 2, Msg: 1, Direction: history.Request, Kind: "Produce", Tokens: []string{"OrderPlaced-of-order-9"},
			}})
			w.confirmed(buy(9, line("sku-1", 1)))
		},
		"a poison record has an id that its consumer refuses": func(w *world) {
			record := &history.Record{
				Topic: orderTopic, Value: history.Bytes("{"), Injected: true, Partition: 3,
				Headers: map[string]string{headerEventID: "\x00"},
			}
			w.append(record)
			letter := w.giveUp("stock", &signal{id: "order-events/3@0", order: &purchase{}, at: *record})
			w.publish(letter)
		},
		"the relay deletes what it published": func(w *world) {
			p := buy(9, line("sku-2", 1000))
			placed := w.place(p)
			w.produce(placed)
			w.commit("orders", "order->postgres", nil, row("outbox", "delete", "id", placed.outbox, "event_id", placed.id))
			rejected := w.reject(placed)
			w.publish(rejected)
			cancelled := w.decide(p, Cancelled, rejected)
			w.publish(cancelled)
			w.ignore("stock", cancelled)
		},
		"an attempt after the heal fails and its retry is acknowledged": func(w *world) {
			before := w.invoke(history.Place, buy(8, line("sku-1", 1)), 1)
			w.phase(history.Recovery)
			w.answer(before, history.Info, 0, "", buy(8))
			p := buy(9, line("sku-1", 1))
			w.answer(w.invoke(history.Place, p, 1), history.Info, 503, "", p)
			p.key = "key-9"
			w.confirmed(p)
		},
		"a service is stopped and started again": func(w *world) {
			w.exit(history.Process{Name: "stock", Signal: "killed"})
			w.emit(history.Event{Process: &history.Process{Name: "stock", PID: 101, State: history.Started}})
		},
		"an inbox row is written again, alone": func(w *world) {
			p := buy(9, line("sku-1", 1))
			confirmed := w.untilConfirmed(p)
			w.settle(confirmed, LedgerSell)
			again := receipt("stock", confirmed, Applied)
			again.Action = "update"
			w.commit("stock", "stock->postgres", nil, again)
		},
		"a client repeats a reservation and is answered the same": func(w *world) {
			w.rest(9, "sku-1", 1, "forever")
			w.op++
			op := history.Op{ID: w.op, Type: history.Invoke, Client: "client-2", Action: history.Reserve, Key: "key-rest-9reserve", Attempt: 2}
			w.emit(history.Event{Op: &op})
			answered := op
			answered.Type, answered.Status, answered.Reservation = history.OK, 200, "rest-9"
			w.emit(history.Event{Op: &answered})
		},
		"a reservation is written again without a transition": func(w *world) {
			w.rest(9, "sku-1", 1, ReservationExpired)
			w.mark("rest-9", ReservationExpired)
		},
		"an order without an idempotency key": func(w *world) {
			p := buy(9, line("sku-1", 1))
			p.key = ""
			w.confirmed(p)
		},
		"an offset is committed again, and one past a duplicate before that is looked at": func(w *world) {
			p := buy(9, line("sku-2", 1000))
			placed := w.place(p)
			w.publish(placed)
			rejected := w.reject(placed)
			w.publish(rejected)
			w.produce(placed)
			w.advance(receipt("stock", placed, Ignored))
			cancelled := w.decide(p, Cancelled, rejected)
			w.publish(cancelled)
			w.ignore("stock", cancelled)
		},
		"a server is killed and started again": func(w *world) {
			w.exit(history.Process{Name: "kafka-1", Signal: "killed"})
			w.emit(history.Event{Process: &history.Process{Name: "kafka-1", PID: 101, State: history.Started}})
		},
		"an aborted record is passed, and its event handled when it comes again": func(w *world) {
			p := buy(9, line("sku-2", 1000))
			placed := w.place(p)
			aborted := w.record(placed)
			aborted.Aborted = true
			w.append(aborted)
			w.advance(receipt("stock", &signal{at: *aborted}, Ignored))
			w.afterRejection(placed)
		},
		"another service's consumer is ahead": func(w *world) {
			p := buy(9, line("sku-2", 1000))
			placed := w.place(p)
			w.produce(placed)
			w.advance(receipt("order", placed, Ignored))
			w.afterRejection(placed)
		},
		"a record says in a header which event caused it": func(w *world) {
			p := buy(9, line("sku-2", 1000))
			placed := w.place(p)
			w.publish(placed)
			rejected := w.reject(placed)
			sink := w.sink
			w.sink = func(e history.Event) {
				if e.Wire != nil && e.Wire.Kind == "Produce" {
					e.Wire.Tokens = append(e.Wire.Tokens, placed.id)
				}
				sink(e)
			}
			w.publish(rejected)
			w.sink = sink
			cancelled := w.decide(p, Cancelled, rejected)
			w.publish(cancelled)
			w.ignore("stock", cancelled)
		},
		"an acknowledged record is aborted": func(w *world) {
			s, _ := w.announce("orders", orderTopic, "OrderPlaced", buy(9, line("sku-1", 1)), 1)
			sink := w.sink
			w.sink = func(e history.Event) {
				if e.Record != nil {
					e.Record.Aborted = true
				}
				sink(e)
			}
			w.produce(s)
			w.sink = sink
		},
		"a broker refuses a batch and takes it the second time": func(w *world) {
			p := buy(9, line("sku-2", 1000))
			placed := w.place(p)
			w.msg++
			w.emit(history.Event{Wire: &history.Wire{
				Link: "order->kafka-1", Conn: 1, Msg: w.msg, Direction: history.Response, Kind: "Produce",
				Status: "NOT_ENOUGH_REPLICAS_AFTER_APPEND", Tokens: []string{p.id, placed.id, "OrderPlaced"},
			}})
			w.publish(placed)
			w.afterRejectionOf(placed)
		},
		"a refusal names the order of another key": func(w *world) {
			p := buy(9, line("sku-1", 1))
			op := w.invoke(history.Place, p, 1)
			w.post(history.Request, "", p.key)
			w.post(history.Response, "409", "order-1")
			w.answer(op, history.Fail, 409, "", p)
		},
		"a record is read a second time": func(w *world) {
			placed := w.place(buy(9, line("sku-2", 1000)))
			w.publish(placed)
			same := placed.at
			w.emit(history.Event{Record: &same})
			rejected := w.reject(placed)
			w.publish(rejected)
			cancelled := w.decide(placed.order, Cancelled, rejected)
			w.publish(cancelled)
			w.ignore("stock", cancelled)
		},
	}
	for name, act := range legal {
		t.Run(name, func(t *testing.T) {
			judgement := judge(t, story(act))
			require.Empty(t, judgement.Anomalies())
			require.Equal(t, Pass, judgement.Verdict, "%v", judgement.Reasons)
		})
	}
}

// afterRejectionOf takes a published order to its cancelled end.
func (w *world) afterRejectionOf(placed *signal) {
	rejected := w.reject(placed)
	w.publish(rejected)
	cancelled := w.decide(placed.order, Cancelled, rejected)
	w.publish(cancelled)
	w.ignore("stock", cancelled)
}

// settleOrder takes a published order to its confirmed end.
func (w *world) settleOrder(placed *signal) {
	reserved := w.reserve(placed)
	w.publish(reserved)
	confirmed := w.decide(placed.order, Confirmed, reserved)
	w.publish(confirmed)
	w.settle(confirmed, LedgerSell)
}

func TestDuplicatesAreAFact(t *testing.T) {
	judgement := judge(t, story(func(w *world) {
		p := buy(9, line("sku-2", 1000))
		placed := w.place(p)
		w.publish(placed)
		w.produce(placed)
		w.produce(placed)
		rejected := w.reject(placed)
		w.publish(rejected)
		cancelled := w.decide(p, Cancelled, rejected)
		w.publish(cancelled)
		w.ignore("stock", cancelled)
	}))
	require.Equal(t, Pass, judgement.Verdict, "%v", judgement.Reasons)
	result, ok := judgement.Result("log-sound")
	require.True(t, ok)
	require.Equal(t, map[string]int64{"duplicate_records": 2, "duplicated_events": 1}, result.Facts)
}

func TestAbortedOffsetsOfTheTopicProbeHideRecords(t *testing.T) {
	events := story(func(w *world) {
		s, _ := w.announce("orders", orderTopic, "OrderPlaced", buy(9, line("sku-1", 1)), 1)
		w.append(w.record(s))
	})
	require.Contains(t, names(judge(t, events)), PhantomEvent)
	record := events[where(events, recorded(orderTopic, "OrderPlaced-of-order-9"))].Record
	partition := (&Partition{Topic: record.Topic, Number: record.Partition}).String()
	events = edited(events, probed(history.ProbeTopic, partition), func(e *history.Event) {
		e.Probe.Detail = history.TopicDetail{Aborted: []int64{record.Offset}}.String()
	})
	require.Equal(t, Pass, judge(t, events).Verdict)
}

// Where rows keep no idempotency key, an order id that the client chose proves nothing against a failed
// request as long as another request may have made the order.
func TestAFailedRequestDoesNotOwnTheOrderOfAnother(t *testing.T) {
	events := story(func(w *world) {
		p := buy(9, line("sku-1", 1))
		w.confirmed(p)
		again := w.invoke(history.Place, &purchase{key: "key-10"}, 1)
		again.Order = p.id
		w.answer(again, history.Fail, 409, "", p)
	})
	for _, e := range events {
		if e.Row != nil {
			delete(e.Row.After, "idempotency_key")
		}
	}
	require.Empty(t, judge(t, events).Anomalies())
}

func TestLinksOfAServiceAreThoseOfItsReplicas(t *testing.T) {
	for link, owned := range map[string]bool{
		"order->postgres": true, "order-2->kafka-1": true, "order-12->postgres": true, "order": true,
		"order-stock->postgres": false, "order-->postgres": false, "orders->postgres": false, "stock->order": false,
	} {
		require.Equal(t, owned, clientOf(link, "order"), link)
	}
	require.False(t, clientOf("order->postgres", ""))
}
