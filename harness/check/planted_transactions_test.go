package check

import (
	"slices"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// transactionBugs are of what belongs together and is not, and of what may only be written once.
func transactionBugs() []planted {
	return []planted{
		{SplitTransaction, nil, "event OrderConfirmed-of-order-9", func() []history.Event { // marked first, then applied
			return story(func(w *world) {
				p := buy(9, line("sku-1", 4))
				confirmed := w.untilConfirmed(p)
				w.commit("stock", "stock->postgres", []string{confirmed.id}, receipt("stock", confirmed, Applied))
				w.commit("stock", "stock->postgres", nil, append(w.moveAll(LedgerSell, p, confirmed.id),
					p.reserved("update", ReservationConfirmed, "StockReserved-of-order-9"))...)
			})
		}},
		{SplitTransaction, nil, "order order-9", func() []history.Event { // the key was taken before the order was written
			return apart(story(func(w *world) { w.confirmed(buy(9, line("sku-1", 4))) }), "order_id", "order-9")
		}},
		{SplitTransaction, nil, "reservation rest-9", func() []history.Event {
			return apart(story(func(w *world) { w.rest(9, "sku-1", 1, "forever") }), "reservation_id", "rest-9")
		}},
		{OffsetBeforeEffects, nil, "event OrderPlaced-of-order-9", func() []history.Event { // automatic commits
			events := story(func(w *world) { w.confirmed(buy(9, line("sku-1", 1))) })
			commit := where(events, func(e history.Event) bool {
				return crossed("COMMIT", history.Request, "OrderPlaced-of-order-9")(e) && e.Wire.Link == "stock->postgres"
			})
			offset := commit + slices.IndexFunc(events[commit:], func(e history.Event) bool {
				return e.Wire != nil && e.Wire.Kind == "OffsetCommit"
			})
			early := events[offset]
			return slices.Insert(slices.Delete(events, offset, offset+1), commit, early)
		}},
		{OffsetBeforeEffects, nil, "event OrderPlaced-of-order-9", func() []history.Event { // though the COMMIT had failed
			return story(func(w *world) {
				p := buy(9, line("sku-2", 1000))
				placed := w.place(p)
				w.publish(placed)
				w.rolledBackBy("stock", history.Wire{Kind: "Error", Status: "40001"}, placed.id)
				w.advance(receipt("stock", placed, Applied))
				rejected := w.reject(placed)
				w.publish(rejected)
				cancelled := w.decide(p, Cancelled, rejected)
				w.publish(cancelled)
				w.ignore("stock", cancelled)
			})
		}},
		{LedgerRewritten, nil, "sku sku-1", func() []history.Event {
			return story(func(w *world) {
				changed := row("stock_ledger", "update", "entry_id", "1", "product_id", "sku-1", "op", LedgerInitial, "qty", "7")
				changed.Before = history.Columns{"entry_id": "1", "product_id": "sku-1", "op": LedgerInitial, "qty": "100"}
				w.commit("stock", "stock->postgres", nil, changed)
			})
		}},
		{LedgerRewritten, nil, "sku sku-1", func() []history.Event {
			return story(func(w *world) {
				w.commit("stock", "stock->postgres", nil, row("stock_ledger", "delete", "entry_id", "1", "product_id", "sku-1"))
			})
		}},
		{TerminalOverwritten, nil, "reservation rest-9", func() []history.Event { // confirmed after it had expired
			return story(func(w *world) { w.rest(9, "sku-1", 1, ReservationExpired); w.mark("rest-9", ReservationConfirmed) })
		}},
		{TerminalOverwritten, nil, "reservation reservation-of-order-9", func() []history.Event { // a rejection is an end
			return story(func(w *world) {
				w.rejected(buy(9, line("sku-2", 1000)))
				w.commit("stock", "stock->postgres", nil, buy(9).reserved("update", ReservationExpired, "StockRejected-of-order-9"))
			})
		}},
		{IllegalTransition, nil, "reservation rest-9", func() []history.Event {
			return story(func(w *world) { w.rest(9, "sku-1", 1, "forever"); w.mark("rest-9", ReservationRejected) })
		}},
		{IllegalTransition, nil, "reservation rest-9", func() []history.Event { // born at its end
			return story(func(w *world) {
				w.commit("stock", "stock->postgres", nil, row("reservations", "insert", "reservation_id", "rest-9", "status", ReservationExpired))
			})
		}},
		{IllegalTransition, []string{LostAck}, "reservation rest-9", func() []history.Event {
			return story(func(w *world) {
				w.rest(9, "sku-1", 1, "forever")
				w.commit("stock", "stock->postgres", nil, row("reservations", "delete", "reservation_id", "rest-9", "status", ReservationReserved))
			})
		}},
		{DuplicateReservation, nil, "key key-rest-9reserve", func() []history.Event {
			events := story(func(w *world) {
				w.rest(9, "sku-1", 1, "forever")
				w.rest(10, "sku-1", 1, "forever")
			})
			return sameKey(events)
		}},
		{DuplicateReservation, nil, "key key-rest-9reserve", func() []history.Event { // no keys are kept, and the first answer was lost
			events := story(func(w *world) {
				w.rest(9, "sku-1", 1, "forever")
				w.rest(10, "sku-1", 1, "forever")
				exchange := history.Wire{Link: "client->stock", Conn: 1, Msg: 1, Kind: reserveKind}
				request, response := exchange, exchange
				request.Direction, request.Tokens = history.Request, []string{"key-rest-9reserve"}
				response.Direction, response.Status, response.Tokens = history.Response, "201", []string{"rest-9"}
				w.emit(history.Event{Wire: &request})
				w.emit(history.Event{Wire: &response})
			})
			events = edited(sameKey(events), func(e history.Event) bool { return e.Op != nil && e.Op.Reservation == "rest-9" }, func(e *history.Event) {
				e.Op.Type, e.Op.Reservation, e.Op.State, e.Op.Status = history.Info, "", "", 0
			})
			return without(events, changed("idempotency_keys", "reservation_id", "rest-9"))
		}},
	}
}

// mark writes the status of a reservation over HTTP, and nothing else.
func (w *world) mark(reservation, status string) {
	w.commit("stock", "stock->postgres", nil, row("reservations", "update", "reservation_id", reservation, "status", status))
}

// apart moves the idempotency key of one order or reservation into a transaction before its own.
func apart(events []history.Event, column, id string) []history.Event {
	i := where(events, changed("idempotency_keys", column, id))
	key := events[i]
	own := key.Row.LSN
	key.Row.LSN, key.Row.Xid = own-1, key.Row.Xid+1000
	events = slices.Delete(events, i, i+1)
	first := slices.IndexFunc(events, func(e history.Event) bool {
		return e.Row != nil && e.Row.LSN == own && (e.Row.Database == "orders") == (column == "order_id")
	})
	return slices.Insert(events, first, key)
}

// sameKey makes the second of two reservations one with the key of the first. Keys are unique in their table.
func sameKey(events []history.Event) []history.Event {
	for _, e := range events {
		if e.Op != nil && e.Op.Key == "key-rest-10reserve" {
			e.Op.Key, e.Op.Attempt = "key-rest-9reserve", 2
		}
	}
	return without(events, changed("idempotency_keys", "reservation_id", "rest-10"))
}

// serviceBugs are of services that do not stay up, or do not come back.
func serviceBugs() []planted {
	return []planted{
		{NotRecovered, nil, "key key-9", func() []history.Event {
			return story(func(w *world) {
				w.phase(history.Recovery)
				p := buy(9, line("sku-1", 1))
				w.answer(w.invoke(history.Place, p, 1), history.Info, 0, "", p)
				w.answer(w.invoke(history.Place, p, 2), history.Fail, 503, "", p)
			})
		}},
		{NotRecovered, nil, "key key-9", func() []history.Event { // the order is there, but nobody says so
			return story(func(w *world) {
				w.phase(history.Recovery)
				p := buy(9, line("sku-1", 1))
				op := w.invoke(history.Place, p, 1)
				w.settleOrder(w.published(p))
				w.answer(op, history.Info, 504, "", p)
			})
		}},
		{ServiceCrashed, nil, "process stock-2", func() []history.Event {
			return story(func(w *world) { w.exit(history.Process{Name: "stock-2", Signal: "segmentation fault", Unasked: true}) })
		}},
		{ServiceCrashed, nil, "process order", func() []history.Event { // with the code of success, which is no excuse
			return story(func(w *world) { w.exit(history.Process{Name: "order", Unasked: true}) })
		}},
	}
}

func (w *world) published(p *purchase) *signal {
	placed := w.insert(p)
	w.publish(placed)
	return placed
}

func (w *world) exit(process history.Process) {
	process.PID, process.State = 100, history.Exited
	w.emit(history.Event{Process: &process})
}
