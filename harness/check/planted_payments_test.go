package check

import "github.com/ordeal-chaos/ordeal/harness/history"

func paymentBugs() []planted {
	one := func() *purchase { return buy(9, line("sku-1", 4)) }
	at := "order order-9"
	return []planted{
		{UnpaidOrder, nil, at, func() []history.Event { // confirmed on the reservation alone
			return paidStory(func(w *world) {
				p := one()
				placed := w.place(p)
				w.publish(placed)
				w.ignore("payment", placed)
				reserved := w.reserve(placed)
				w.publish(reserved)
				w.ignore("payment", reserved)
				confirmed := w.decide(p, Confirmed, reserved)
				w.publish(confirmed)
				w.settle(confirmed, LedgerSell)
				w.ignore("payment", confirmed)
			})
		}},
		{UnpaidOrder, nil, at, func() []history.Event { // given back although it was confirmed
			return paidStory(func(w *world) {
				p := one()
				captured := w.charge(w.untilReserved(p))
				w.publish(captured)
				confirmed := w.decide(p, Confirmed, captured)
				w.publish(confirmed)
				w.settle(confirmed, LedgerSell)
				refunded := w.refund(confirmed)
				w.publish(refunded)
				w.ignore("order", refunded)
			})
		}},
		{MissingRefund, nil, at, func() []history.Event { // a late charge, without a fence
			return paidStory(func(w *world) {
				p := one()
				reserved := w.untilReserved(p)
				w.ignore("payment", w.swept(p))
				captured := w.charge(reserved)
				w.publish(captured)
				w.ignore("order", captured)
			})
		}},
		{MissingRefund, []string{TerminalOverwritten}, at, func() []history.Event { // through its fence
			return paidStory(func(w *world) {
				p := one()
				reserved := w.untilReserved(p)
				w.fence(w.swept(p))
				captured := w.paying(reserved, "update", "PaymentCaptured", PaymentCaptured, PaymentCapture, 2)
				w.publish(captured)
				w.ignore("order", captured)
			})
		}},
		{WrongAmount, nil, at, func() []history.Event {
			events := paidStory(func(w *world) { w.bought(one()) })
			for _, table := range []string{"payments", "payment_ledger"} {
				edited(events, changed(table, "order_id", "order-9"), func(e *history.Event) { e.Row.After["amount"] = "99" })
			}
			return edited(events, recorded(paymentTopic, "PaymentCaptured-of-order-9"), func(e *history.Event) {
				e.Record.Value = history.Bytes(`{"eventId":"PaymentCaptured-of-order-9","type":"PaymentCaptured","orderId":"order-9","version":1,"paymentAmt":99}`)
			})
		}},
		{WrongAmount, []string{SplitTransaction}, at, func() []history.Event { // refunded in part
			return edited(paidStory(func(w *world) { w.refunded(one()) }), changed("payment_ledger", "order_id", "order-9", "op", PaymentRefund),
				func(e *history.Event) { e.Row.After["amount"] = "99" })
		}},
		{PayloadMismatch, nil, "event PaymentCaptured-of-order-9", func() []history.Event {
			return edited(paidStory(func(w *world) { w.bought(one()) }), recorded(paymentTopic, "PaymentCaptured-of-order-9"), func(e *history.Event) {
				e.Record.Value = history.Bytes(`{"eventId":"PaymentCaptured-of-order-9","type":"PaymentCaptured","orderId":"order-9","version":1,"paymentAmt":99}`)
			})
		}},
		{DoubleCharge, []string{SplitTransaction}, at, func() []history.Event { // delivered twice
			return paidStory(func(w *world) {
				p := one()
				captured := w.charge(w.untilReserved(p))
				w.commit("payments", "payment->postgres", []string{p.id}, row("payment_ledger", "insert", "entry_id", "again", "payment_id", "payment-of-"+p.id,
					"order_id", p.id, "op", PaymentCapture, "amount", number(price)),
					row("payment_ledger", "insert", "entry_id", "undone", "payment_id", "payment-of-"+p.id,
						"order_id", p.id, "op", PaymentRefund, "amount", number(price)))
				w.publish(captured)
				w.confirmedBy(captured)
			})
		}},
		{RefundWithoutCapture, []string{IllegalTransition}, at, func() []history.Event {
			return paidStory(func(w *world) {
				p := one()
				reserved := w.untilReserved(p)
				refunded := w.paying(w.swept(p), "insert", "PaymentRefunded", PaymentRefunded, PaymentRefund, 1)
				w.publish(refunded)
				w.ignore("order", refunded)
				w.ignore("payment", reserved)
			})
		}},
		{TerminalOverwritten, []string{LostEvent, SplitTransaction, UnpaidOrder}, at, func() []history.Event { // a declined payment that is captured after all
			return paidStory(func(w *world) {
				p := one()
				w.commit("payments", "payment->postgres", []string{p.id}, p.pay("insert", PaymentDeclined, "", "declined-9", "", 1)...)
				captured := w.paying(w.untilReserved(p), "update", "PaymentCaptured", PaymentCaptured, "", 2)
				w.publish(captured)
				w.confirmedBy(captured)
			})
		}},
		{LedgerRewritten, nil, at, func() []history.Event {
			return paidStory(func(w *world) {
				w.bought(one())
				w.commit("payments", "payment->postgres", nil, row("payment_ledger", "delete", "entry_id", "captureorder-9", "payment_id", "payment-of-order-9"))
			})
		}},
		{LostEvent, nil, at, func() []history.Event { // the refund was never announced
			return without(paidStory(func(w *world) {
				p := one()
				captured := w.charge(w.untilReserved(p))
				w.publish(captured)
				cancelled := w.swept(p)
				w.ignore("order", captured)
				w.refund(cancelled)
			}), changed("outbox", "event_id", "PaymentRefunded-of-order-9"))
		}},
		{PhantomEvent, nil, "event PaymentRefunded-of-order-9", func() []history.Event {
			return paidStory(func(w *world) {
				w.bought(one())
				refunded, _ := w.announce("payments", paymentTopic, "PaymentRefunded", one(), 2)
				w.produce(refunded)
				w.ignore("order", refunded)
			})
		}},
		{PublishedBeforeCommit, nil, "event PaymentCaptured-of-order-9", func() []history.Event {
			return paidStory(func(w *world) {
				p := one()
				reserved := w.untilReserved(p)
				captured, _ := w.announce("payments", paymentTopic, "PaymentCaptured", p, 1)
				w.produce(captured)
				w.commit("payments", "payment->postgres", []string{p.id, reserved.id, captured.id},
					append(p.pay("insert", PaymentCaptured, PaymentCapture, captured.id, reserved.id, 1), receipt("payment", reserved, Applied))...)
				w.confirmedBy(captured)
			})
		}},
		{StuckPayment, nil, at, func() []history.Event {
			return standstill(paidStory(func(w *world) {
				p := one()
				reserved := w.untilReserved(p)
				w.commit("payments", "payment->postgres", []string{p.id}, append(p.pay("insert", PaymentAuthorized, PaymentAuthorize, "", "", 1),
					receipt("payment", reserved, Applied))...)
				w.ignore("payment", w.swept(p))
			}))
		}},
	}
}
