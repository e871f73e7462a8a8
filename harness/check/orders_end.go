package check

import "fmt"

var ordersEnd = Guarantee{
	ID: "I5", Name: "orders-end",
	Statement: "Every order is confirmed or cancelled once the faults are healed and the system is at rest.",
	Check:     checkOrdersEnd,
}

func checkOrdersEnd(v *View) (f Finding) {
	atRest, reason := v.rest()
	open := 0
	for _, order := range v.Orders {
		if !order.Exists() {
			continue // an acknowledged order without a row is a lost acknowledgement
		}
		f.Examined++
		last := order.Last()
		if terminal(last.Status) {
			continue
		}
		if !atRest {
			open++
			continue
		}
		f.Anomalies = append(f.Anomalies, Anomaly{
			Name: StuckOrder, Subject: "order " + order.ID,
			Detail: fmt.Sprintf("it was still %v when %s", last, v.standstill()),
			Events: []int64{last.Seq},
		})
	}
	if open > 0 {
		f.Unknown = fmt.Sprintf("%s still open, and %s", plural(open, "order is", "orders are"), reason)
	}
	return f
}

// standstill says in words how long nothing had moved.
func (v *View) standstill() string {
	probe := v.quiescent()
	if probe == nil || probe.OK {
		return "the drain ended"
	}
	return fmt.Sprintf("nothing had moved for %d ms", probe.Numbers["idle_ms"])
}
