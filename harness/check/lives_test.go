package check

import (
	"fmt"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// The whole lives of orders.

func (w *world) confirmed(p *purchase) {
	placed := w.place(p)
	w.publish(placed)
	reserved := w.reserve(placed)
	w.publish(reserved)
	confirmed := w.decide(p, Confirmed, reserved)
	w.publish(confirmed)
	w.settle(confirmed, LedgerSell)
}

func (w *world) rejected(p *purchase) {
	placed := w.place(p)
	w.publish(placed)
	rejected := w.reject(placed)
	w.publish(rejected)
	cancelled := w.decide(p, Cancelled, rejected)
	w.publish(cancelled)
	w.ignore("stock", cancelled)
}

func (w *world) cancelledByClient(p *purchase) {
	placed := w.place(p)
	w.publish(placed)
	reserved := w.reserve(placed)
	op := w.invoke(history.Cancel, p, 1)
	cancelled := w.decide(p, Cancelled, nil)
	w.answer(op, history.OK, 200, Cancelled, p)
	w.publish(reserved)
	w.ignore("order", reserved)
	w.publish(cancelled)
	w.settle(cancelled, LedgerRelease)
}

// deadLettered is an order whose placement stock gives up, so that the sweeper cancels it.
func (w *world) deadLettered(p *purchase) {
	placed := w.place(p)
	w.publish(placed)
	w.publish(w.giveUp("stock", placed))
	cancelled := w.decide(p, Cancelled, nil)
	w.publish(cancelled)
	w.ignore("stock", cancelled)
}

// poison is a record that is no event, written by the harness and given up by stock.
func (w *world) poison(partition int32) {
	record := &history.Record{Topic: orderTopic, Partition: partition, Key: history.Bytes("poison"), Value: history.Bytes("{not json"), Injected: true}
	w.append(record)
	at := Position{record.Topic, record.Partition, record.Offset}
	w.publish(w.giveUp("stock", &signal{id: at.String(), order: &purchase{id: "poison"}, at: *record}))
}

// rest is a reservation over HTTP, without an order.
func (w *world) rest(n int, sku string, qty int64, end string) {
	id := fmt.Sprintf("rest-%d", n)
	p := &purchase{key: "key-" + id, lines: []history.Line{{SKU: sku, Qty: qty}}}
	expires := "2026-01-01 00:00:00"
	if end == "forever" {
		expires = ""
	}
	reservation := func(action, status string) *history.Row {
		return row("reservations", action, "reservation_id", id, "status", status, "expires_at", expires)
	}
	act := func(action, op, status string) {
		w.op++
		invoked := history.Op{ID: w.op, Type: history.Invoke, Client: "client-2", Action: action, Key: p.key + action, Attempt: 1}
		w.emit(history.Event{Op: &invoked})
		kind := "update"
		if op == LedgerReserve {
			kind = "insert"
		}
		rows := append(w.move(op, "", id, "", 1, p.lines[0]), reservation(kind, status))
		if action == history.Reserve {
			rows = append(rows, row("idempotency_keys", "insert", "idempotency_key", invoked.Key, "reservation_id", id))
		}
		w.commit("stock", "stock->postgres", []string{id}, rows...)
		answered := invoked
		answered.Type, answered.Status, answered.Reservation, answered.State = history.OK, 200, id, status
		w.emit(history.Event{Op: &answered})
	}
	act(history.Reserve, LedgerReserve, ReservationReserved)
	switch end {
	case ReservationConfirmed:
		act(history.ConfirmStock, LedgerSell, end)
	case ReservationReleased:
		act(history.ReleaseStock, LedgerRelease, end)
	case ReservationExpired:
		w.commit("stock", "stock->postgres", []string{id}, append(w.move(LedgerRelease, "", id, "", 1, p.lines[0]), reservation("update", end))...)
	}
}

// refused is a client that asks for the end of a reservation and is told that it cannot be.
func (w *world) refused(action, reservation string, status int) {
	w.op++
	op := history.Op{ID: w.op, Type: history.Invoke, Client: "client-3", Action: action, Reservation: reservation, Attempt: 1}
	w.emit(history.Event{Op: &op})
	answered := op
	answered.Type, answered.Status, answered.Error = history.Fail, status, "not applied"
	w.emit(history.Event{Op: &answered})
}

func line(sku string, qty int64) history.Line { return history.Line{SKU: sku, Qty: qty} }

// cleanHistory has at least one of everything that is legal.
func cleanHistory() []history.Event {
	var events []history.Event
	w := newWorld(func(e history.Event) { events = append(events, e) })
	w.supply("sku-1", 100)
	w.supply("sku-2", 100)
	w.phase(history.Baseline)
	w.confirmed(buy(1, line("sku-1", 2), line("sku-2", 3)))
	w.phase(history.Faults)
	w.fault(1, func() { w.confirmed(buy(2, line("sku-1", 1))) })
	w.phase(history.Heal)
	w.rejected(buy(3, line("sku-2", 1000)))
	w.cancelledByClient(buy(4, line("sku-1", 4)))
	w.deadLettered(buy(5, line("sku-2", 5)))
	w.poison(0)
	w.rest(1, "sku-1", 1, ReservationConfirmed)
	w.rest(2, "sku-1", 1, ReservationReleased)
	w.rest(3, "sku-1", 1, ReservationExpired)
	w.refused(history.ReleaseStock, "rest-1", 409)
	w.refused(history.ConfirmStock, "rest-2", 409)
	w.refused(history.ConfirmStock, "rest-3", 410)
	w.phase(history.Recovery)
	w.confirmed(buy(6, line("sku-1", 1)))
	w.finish()
	return events
}
