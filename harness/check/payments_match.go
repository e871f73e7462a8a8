package check

import "fmt"

var paymentsMatchOrders = Guarantee{
	ID: "I13", Name: "payments-match-orders",
	Statement: "A confirmed order was charged what it costs; any other was charged nothing, or refunded all of it.",
	Check:     checkPaymentsMatchOrders,
}

// money is what was moved for one order, by the ledger.
type money struct {
	captures, refunds  int
	captured, refunded int64
	events             []int64 // of the captures and refunds
}

func (o *Order) money() (m money) {
	for _, payment := range o.Payments {
		for _, entry := range payment.Entries {
			switch entry.Op {
			case PaymentCapture:
				m.captures++
				m.captured += entry.Amount
			case PaymentRefund:
				m.refunds++
				m.refunded += entry.Amount
			default:
				continue
			}
			m.events = append(m.events, entry.Seq)
		}
	}
	return m
}

func checkPaymentsMatchOrders(v *View) (f Finding) {
	if len(v.Payments) == 0 && v.producer(paymentTopic) == "" {
		return f // nobody pays
	}
	atRest, reason := v.rest()
	open := 0
	for _, order := range v.Orders {
		status := order.Status()
		if status == "" && len(order.Payments) == 0 || status == Pending {
			continue // an order that is not decided is judged elsewhere
		}
		f.Examined++
		anomaly, waits := order.wrongMoney()
		switch {
		case anomaly == nil:
		case waits && !atRest:
			open++
		default:
			f.Anomalies = append(f.Anomalies, *anomaly)
		}
	}
	if open > 0 {
		f.Unknown = fmt.Sprintf("%s not as the order is, and %s", plural(open, "payment is", "payments are"), reason)
	}
	return f
}

// wrongMoney is what is wrong with what was moved for a decided order, nil where nothing is. waits says that it may
// still come right.
func (o *Order) wrongMoney() (anomaly *Anomaly, waits bool) {
	m := o.money()
	state := "does not exist"
	var events []int64
	if o.Exists() {
		state = "is " + o.Status()
		events = append(events, o.Last().Seq)
	}
	wrong := func(name, format string, args ...any) *Anomaly {
		return &Anomaly{
			Name: name, Subject: "order " + o.ID,
			Detail: fmt.Sprintf("it %s and costs %d; %s", state, o.Payment, fmt.Sprintf(format, args...)), Events: append(events, m.events...),
		}
	}
	confirmed := o.Status() == Confirmed
	switch {
	case confirmed && m.captures == 0:
		return wrong(UnpaidOrder, "nothing was ever captured for it"), true
	case confirmed && m.refunds >= m.captures:
		return wrong(UnpaidOrder, "%d was captured for it and %d refunded", m.captured, m.refunded), false
	case confirmed && o.HasPayment && m.captured-m.refunded != o.Payment:
		return wrong(WrongAmount, "%d was captured for it and %d refunded", m.captured, m.refunded), false
	case !confirmed && m.captures > m.refunds:
		return wrong(MissingRefund, "%d was captured for it and %d refunded", m.captured, m.refunded), true
	case !confirmed && m.captures > 0 && m.captures == m.refunds && m.captured != m.refunded:
		return wrong(WrongAmount, "%d was captured for it and %d refunded", m.captured, m.refunded), false
	}
	return nil, false
}
