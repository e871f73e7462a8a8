package check

import (
	"fmt"
	"slices"
)

var noLeakedReservation = Guarantee{
	ID: "I6", Name: "no-leaked-reservation",
	Statement: "A cancelled or nonexistent order holds no stock and no reservation.",
	Check:     checkLeaks,
}

func checkLeaks(v *View) (f Finding) {
	atRest, reason := v.rest()
	open := 0
	for _, order := range v.Orders {
		status := order.Status()
		if status != Cancelled && status != "" || status == "" && len(order.Entries)+len(order.Reservations) == 0 {
			continue
		}
		f.Examined++
		leak := leakOf(order)
		if leak == nil {
			continue
		}
		if !atRest {
			open++
			continue
		}
		f.Anomalies = append(f.Anomalies, *leak)
	}
	if open > 0 {
		f.Unknown = fmt.Sprintf("%s stock, and %s", plural(open, "order without a claim still holds", "orders without a claim still hold"), reason)
	}
	return f
}

// leakOf folds the ledger of an order that may hold nothing: what was reserved and not released is
// held, also where it was sold since. Nil when it holds nothing.
func leakOf(order *Order) *Anomaly {
	held := make(map[string]int64)
	var events []int64
	for _, entry := range order.Entries {
		switch entry.Op {
		case LedgerReserve:
			held[entry.SKU] += entry.Qty
		case LedgerRelease:
			held[entry.SKU] -= entry.Qty
		}
		events = append(events, entry.Seq)
	}
	var keeps []string
	for sku, qty := range held {
		if qty > 0 {
			keeps = append(keeps, fmt.Sprintf("%d of %s", qty, sku))
		}
	}
	slices.Sort(keeps)
	for _, reservation := range order.Reservations {
		if status := reservation.Status(); status == ReservationReserved || status == ReservationConfirmed {
			keeps = append(keeps, fmt.Sprintf("reservation %s (%s)", reservation.ID, status))
			events = append(events, reservation.Last().Seq)
		}
	}
	if len(keeps) == 0 {
		return nil
	}
	state := "does not exist"
	if order.Exists() {
		state = "is " + order.Status()
		events = append(events, order.Last().Seq)
	}
	return &Anomaly{
		Name: LeakedReservation, Subject: "order " + order.ID,
		Detail: fmt.Sprintf("it %s but keeps %s", state, summary(keeps)),
		Events: events,
	}
}
