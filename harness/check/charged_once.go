package check

import (
	"cmp"
	"fmt"
	"slices"
)

var chargedOnce = Guarantee{
	ID: "I7", Name: "charged-once",
	Statement: "An order is charged and refunded once at most, and each movement of money is a ledger entry in the transaction of the payment's row.",
	Check:     checkChargedOnce,
}

func checkChargedOnce(v *View) (f Finding) {
	for _, order := range v.Orders {
		if len(order.Payments) == 0 {
			continue
		}
		f.Examined++
		if anomaly := chargedTwice(order); anomaly != nil {
			f.Anomalies = append(f.Anomalies, *anomaly)
		}
		for _, payment := range order.Payments {
			f.Anomalies = append(f.Anomalies, payment.misbooked()...)
		}
	}
	return f
}

// chargedTwice folds the ledger of an order up to the first entry that should not be.
func chargedTwice(order *Order) *Anomaly {
	var entries []*PaymentEntry
	for _, payment := range order.Payments {
		entries = append(entries, payment.Entries...)
	}
	slices.SortStableFunc(entries, func(a, b *PaymentEntry) int { return cmp.Compare(a.Seq, b.Seq) })
	var captured, refunded *PaymentEntry
	wrong := func(name string, entry, earlier *PaymentEntry, what string) *Anomaly {
		anomaly := &Anomaly{Name: name, Subject: "order " + order.ID, Events: []int64{entry.Seq}}
		anomaly.Detail = fmt.Sprintf("%s %d at LSN %d%s, %s", entry.Op, entry.Amount, entry.LSN, causedBy(entry), what)
		if earlier != nil {
			anomaly.Detail += fmt.Sprintf(" %d at LSN %d%s", earlier.Amount, earlier.LSN, causedBy(earlier))
			anomaly.Events = append(anomaly.Events, earlier.Seq)
		}
		return anomaly
	}
	for _, entry := range entries {
		switch {
		case entry.Op == PaymentCapture && captured != nil:
			return wrong(DoubleCharge, entry, captured, "after capture")
		case entry.Op == PaymentRefund && refunded != nil:
			return wrong(DoubleCharge, entry, refunded, "after refund")
		case entry.Op == PaymentRefund && captured == nil:
			return wrong(RefundWithoutCapture, entry, nil, "but nothing was captured before")
		case entry.Op == PaymentCapture:
			captured = entry
		case entry.Op == PaymentRefund:
			refunded = entry
		}
	}
	return nil
}

func causedBy(entry *PaymentEntry) string {
	if entry.EventID == "" {
		return ""
	}
	return " (event " + entry.EventID + ")"
}

// booked is the ledger operation that leads to each status.
var booked = map[string]string{
	PaymentAuthorized: PaymentAuthorize, PaymentCaptured: PaymentCapture, PaymentDeclined: PaymentDecline,
	PaymentVoided: PaymentVoid, PaymentRefunded: PaymentRefund,
}

// misbooked compares the row with its ledger: one entry for each change of status, of the same amount and in the same
// transaction. A payment that begins as voided moved nothing.
func (p *Payment) misbooked() (anomalies []Anomaly) {
	for _, rewrite := range p.Rewrites {
		anomalies = append(anomalies, Anomaly{
			Name: LedgerRewritten, Subject: "order " + p.Order,
			Detail: fmt.Sprintf("%s of entry %s of the payment ledger at LSN %d", rewrite.Action, rewrite.EntryID, rewrite.LSN),
			Events: []int64{rewrite.Seq},
		})
	}
	split := func(seq int64, format string, args ...any) {
		anomalies = append(anomalies, Anomaly{
			Name: SplitTransaction, Subject: "order " + p.Order, Detail: fmt.Sprintf(format, args...), Events: []int64{seq},
		})
	}
	written := make(map[*PaymentEntry]bool)
	for i, version := range p.Versions {
		fence := i == 0 && version.Status == PaymentVoided
		if fence || version.Deleted || i > 0 && p.Versions[i-1].Status == version.Status {
			continue
		}
		at := slices.IndexFunc(p.Entries, func(e *PaymentEntry) bool {
			return e.LSN == version.LSN && e.Op == booked[version.Status] && e.Amount == version.Amount
		})
		if at < 0 {
			split(version.Seq, "payment %s became %v at LSN %d, and no %s of %d is in the ledger with it",
				p.ID, version, version.LSN, booked[version.Status], version.Amount)
			continue
		}
		written[p.Entries[at]] = true
	}
	for _, entry := range p.Entries {
		if !written[entry] {
			split(entry.Seq, "the ledger says %s %d at LSN %d, and payment %s did not change so with it", entry.Op, entry.Amount, entry.LSN, p.ID)
		}
	}
	return anomalies
}
