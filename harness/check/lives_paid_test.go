package check

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// paidServices is the reference system where orders are paid for.
var paidServices = []history.Service{
	{Name: "order", Database: "orders", Group: "order", Consumes: []string{stockTopic, paymentTopic}, Produces: []string{orderTopic}},
	{Name: "stock", Database: "stock", Group: "stock", Consumes: []string{orderTopic}, Produces: []string{stockTopic}},
	{Name: "payment", Database: "payments", Group: "payment", Consumes: []string{orderTopic, stockTopic}, Produces: []string{paymentTopic}},
}

// price is the amount of every order.
const price = 990

// pay writes a version of an order's payment and, unless op is empty, its ledger entry.
func (p *purchase) pay(action, status, op, event, cause string, version int) []*history.Row {
	rows := []*history.Row{row("payments", action, "payment_id", "payment-of-"+p.id, "order_id", p.id, "status", status,
		"amount", number(price), "version", number(int64(version)), "event_id", event)}
	if op != "" {
		rows = append(rows, row("payment_ledger", "insert", "entry_id", op+p.id, "payment_id", "payment-of-"+p.id, "order_id", p.id,
			"op", op, "amount", number(price), "event_id", cause))
	}
	return rows
}

// paying is a transaction of the payment service that announces what it did.
func (w *world) paying(heard *signal, action, kind, status, op string, version int) *signal {
	p := heard.order
	s, outbox := w.announce("payments", paymentTopic, kind, p, version)
	rows := append([]*history.Row{receipt("payment", heard, Applied)}, p.pay(action, status, op, s.id, heard.id, version)...)
	w.commit("payments", "payment->postgres", []string{p.id, heard.id, s.id}, append(rows, outbox)...)
	return s
}

func (w *world) charge(reserved *signal) *signal {
	return w.paying(reserved, "insert", "PaymentCaptured", PaymentCaptured, PaymentCapture, 1)
}

func (w *world) decline(reserved *signal) *signal {
	return w.paying(reserved, "insert", "PaymentDeclined", PaymentDeclined, PaymentDecline, 1)
}

func (w *world) refund(cancelled *signal) *signal {
	return w.paying(cancelled, "update", "PaymentRefunded", PaymentRefunded, PaymentRefund, 2)
}

// fence is a cancellation that comes before its charge.
func (w *world) fence(cancelled *signal) {
	p := cancelled.order
	w.commit("payments", "payment->postgres", []string{p.id, cancelled.id},
		append([]*history.Row{receipt("payment", cancelled, Applied)}, p.pay("insert", PaymentVoided, "", "", "", 1)...)...)
}

// untilReserved is the life of an order up to the event that payment must act on.
func (w *world) untilReserved(p *purchase) *signal {
	placed := w.place(p)
	w.publish(placed)
	w.ignore("payment", placed)
	reserved := w.reserve(placed)
	w.publish(reserved)
	w.ignore("order", reserved)
	return reserved
}

// confirmedBy is the rest of the life of an order that was charged.
func (w *world) confirmedBy(captured *signal) {
	confirmed := w.decide(captured.order, Confirmed, captured)
	w.publish(confirmed)
	w.settle(confirmed, LedgerSell)
	w.ignore("payment", confirmed)
}

// swept is the end of an order without an answer, as far as stock is concerned.
func (w *world) swept(p *purchase) *signal {
	cancelled := w.decide(p, Cancelled, nil)
	w.publish(cancelled)
	w.settle(cancelled, LedgerRelease)
	return cancelled
}

func (w *world) bought(p *purchase) {
	captured := w.charge(w.untilReserved(p))
	w.publish(captured)
	w.confirmedBy(captured)
}

func (w *world) declined(p *purchase) {
	declined := w.decline(w.untilReserved(p))
	w.publish(declined)
	cancelled := w.decide(p, Cancelled, declined)
	w.publish(cancelled)
	w.settle(cancelled, LedgerRelease)
	w.ignore("payment", cancelled)
}

func (w *world) refunded(p *purchase) {
	captured := w.charge(w.untilReserved(p))
	w.publish(captured)
	cancelled := w.swept(p)
	w.ignore("order", captured)
	refunded := w.refund(cancelled)
	w.publish(refunded)
	w.ignore("order", refunded)
}

// fenced is an order that was cancelled before its charge came.
func (w *world) fenced(p *purchase) {
	reserved := w.untilReserved(p)
	w.fence(w.swept(p))
	w.ignore("payment", reserved)
}

// held is a payment that is authorized first, and then ends so.
func (w *world) held(p *purchase, status, op, kind string) {
	reserved := w.untilReserved(p)
	w.commit("payments", "payment->postgres", []string{p.id}, p.pay("insert", PaymentAuthorized, PaymentAuthorize, "", "", 1)...)
	if kind != "" {
		ended := w.paying(reserved, "update", kind, status, op, 2)
		w.publish(ended)
		w.confirmedBy(ended)
		return
	}
	cancelled := w.swept(p)
	w.ignore("payment", reserved)
	w.commit("payments", "payment->postgres", []string{p.id, cancelled.id},
		append([]*history.Row{receipt("payment", cancelled, Applied)}, p.pay("update", status, op, "", cancelled.id, 2)...)...)
}

// paidStory is story where orders are paid for.
func paidStory(act func(*world)) []history.Event {
	var events []history.Event
	w := newWorld(func(e history.Event) { events = append(events, e) })
	w.paid = true
	w.supply("sku-1", 100)
	w.phase(history.Baseline)
	w.bought(buy(1, line("sku-1", 2)))
	w.phase(history.Faults)
	act(w)
	w.finish()
	return events
}

func TestLegalPaymentsRaiseNoAlarm(t *testing.T) {
	view := build(t, paidStory(func(w *world) {
		w.bought(buy(2, line("sku-1", 2)))
		w.declined(buy(3, line("sku-1", 2)))
		w.refunded(buy(4, line("sku-1", 2)))
		w.fenced(buy(5, line("sku-1", 2)))
		w.held(buy(6, line("sku-1", 2)), PaymentCaptured, PaymentCapture, "PaymentCaptured")
		w.held(buy(7, line("sku-1", 2)), PaymentVoided, PaymentVoid, "")
	}))
	for _, guarantee := range Payments {
		view.Header.Exercises = append(view.Header.Exercises, guarantee.Name)
	}
	view.Header.Exercises = append(view.Header.Exercises, declines.Name)
	judgement := Judge(view, standard())
	for _, result := range judgement.Results {
		require.Empty(t, result.Anomalies, result.Name)
	}
	require.Equal(t, Pass, judgement.Verdict, "%v", judgement.Reasons)
}

// What has not come yet is no anomaly before the system is at rest.
func TestPaymentsWait(t *testing.T) {
	events := paidStory(func(w *world) {
		captured := w.charge(w.untilReserved(buy(9, line("sku-1", 2))))
		w.publish(captured)
		w.swept(captured.order)
		w.ignore("order", captured)
	})
	view := build(t, edited(events, probed(history.ProbeQuiescent, ""), func(e *history.Event) {
		e.Probe.OK, e.Probe.Detail = false, "deadline"
		e.Probe.Numbers["idle_ms"] = 10
	}))
	result, _ := Judge(view, standard()).Result(paymentsMatchOrders.Name)
	require.Equal(t, Unknown, result.Verdict, "%v", result.Anomalies)
}

func TestStoryTellsOfMoney(t *testing.T) {
	view := build(t, paidStory(func(w *world) { w.refunded(buy(9, line("sku-1", 2))) }))
	var told []string
	for _, m := range view.Story(Anomaly{Name: MissingRefund, Subject: "order order-9", Events: []int64{view.payment("payment-of-order-9").Last().Seq}}) {
		if m.Source == "payments" {
			told = append(told, m.What)
		}
	}
	all := strings.Join(told, "\n")
	require.Contains(t, all, "ledger capture 990 for order order-9 (event StockReserved-of-order-9)")
	require.Contains(t, all, "payment of order order-9 committed as REFUNDED version 2 of 990")
	require.Contains(t, all, "ledger refund 990 for order order-9 (event OrderCancelled-of-order-9)")
}
