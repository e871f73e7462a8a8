package check

import "fmt"

var confirmedOrdersDeductedOnce = Guarantee{
	ID: "I3", Name: "confirmed-orders-deducted-once",
	Statement: "Each line of a confirmed order is sold exactly once in the ledger, in its exact quantity.",
	Check:     checkDeductedOnce,
}

func checkDeductedOnce(v *View) (f Finding) {
	atRest, reason := v.rest()
	open := 0
	for _, order := range v.Orders {
		if order.Status() != Confirmed {
			continue
		}
		confirmed := order.Last()
		for _, line := range order.Lines {
			f.Examined++
			sells := order.sells(line)
			if len(sells) > 0 {
				f.Anomalies = append(f.Anomalies, wrongSells(order, line, sells)...)
				continue
			}
			if !atRest {
				open++
				continue
			}
			f.Anomalies = append(f.Anomalies, Anomaly{
				Name: MissingDeduction, Subject: "order " + order.ID,
				Detail: fmt.Sprintf("line %d (%d of %s) was never sold in the ledger, though the order was confirmed at LSN %d",
					line.No, line.Qty, line.SKU, confirmed.LSN),
				Events: []int64{line.Seq, confirmed.Seq},
			})
		}
		f.Anomalies = append(f.Anomalies, strayedSells(order)...)
	}
	if open > 0 {
		f.Unknown = fmt.Sprintf("%s not sold yet, and %s", plural(open, "confirmed line is", "confirmed lines are"), reason)
	}
	return f
}

// sells returns the sell entries of one line. A ledger without line numbers is matched by SKU.
func (o *Order) sells(line OrderLine) []*Entry {
	var sells []*Entry
	for _, entry := range o.Entries {
		if entry.Op == LedgerSell && (entry.Line == line.No || entry.Line < 0 && entry.SKU == line.SKU) {
			sells = append(sells, entry)
		}
	}
	return sells
}

// wrongSells judges what was sold; that it was sold twice is a double effect, judged elsewhere.
func wrongSells(order *Order, line OrderLine, sells []*Entry) []Anomaly {
	var anomalies []Anomaly
	for _, sell := range sells {
		if sell.Qty != line.Qty || sell.SKU != line.SKU {
			anomalies = append(anomalies, Anomaly{
				Name: WrongQuantity, Subject: "order " + order.ID,
				Detail: fmt.Sprintf("line %d is %d of %s, but the ledger sold %d of %s at LSN %d",
					line.No, line.Qty, line.SKU, sell.Qty, sell.SKU, sell.LSN),
				Events: []int64{line.Seq, sell.Seq},
			})
		}
	}
	return anomalies
}

// strayedSells finds what was sold for lines that the order does not have.
func strayedSells(order *Order) []Anomaly {
	var anomalies []Anomaly
	for _, entry := range order.Entries {
		if entry.Op != LedgerSell || order.has(entry) {
			continue
		}
		anomalies = append(anomalies, Anomaly{
			Name: WrongQuantity, Subject: "order " + order.ID,
			Detail: fmt.Sprintf("the ledger sold %d of %s at LSN %d for line %d, which the order does not have",
				entry.Qty, entry.SKU, entry.LSN, entry.Line),
			Events: []int64{order.Last().Seq, entry.Seq},
		})
	}
	return anomalies
}

func (o *Order) has(entry *Entry) bool {
	for _, line := range o.Lines {
		if entry.Line == line.No || entry.Line < 0 && entry.SKU == line.SKU {
			return true
		}
	}
	return false
}
