package check

import "fmt"

var effectsAtMostOnce = Guarantee{
	ID: "I7", Name: "effects-at-most-once",
	Statement: "No event and no order line takes the same effect on the ledger twice.",
	Check:     checkEffectsOnce,
}

// effect identifies what may happen once: one operation on one line of one owner.
type effect struct {
	owner string // order, else reservation, else the event that caused it
	op    string
	line  int64
	sku   string // only where there is no line number
}

func checkEffectsOnce(v *View) (f Finding) {
	first := make(map[effect]*Entry)
	again := make(map[effect]*Anomaly)
	var order []effect // of discovery, so that the finding does not depend on map order
	for _, entry := range v.Entries {
		key, ok := effectOf(entry)
		if !ok {
			continue
		}
		earlier := first[key]
		if earlier == nil {
			first[key] = entry
			f.Examined++
			continue
		}
		if anomaly := again[key]; anomaly != nil {
			anomaly.Events = append(anomaly.Events, entry.Seq)
			continue
		}
		order = append(order, key)
		again[key] = &Anomaly{
			Name: DoubleEffect, Subject: effectSubject(entry),
			Detail: fmt.Sprintf("line %d: %s %d of %s at LSN %d%s, and again %d at LSN %d%s",
				entry.Line, entry.Op, earlier.Qty, entry.SKU, earlier.LSN, because(earlier), entry.Qty, entry.LSN, because(entry)),
			Events: []int64{earlier.Seq, entry.Seq},
		}
	}
	for _, key := range order {
		f.Anomalies = append(f.Anomalies, *again[key])
	}
	return f
}

func effectOf(entry *Entry) (effect, bool) {
	key := effect{op: entry.Op, line: entry.Line}
	switch {
	case entry.Op == LedgerInitial || entry.Op == LedgerRestock:
		return effect{}, false
	case entry.Order != "":
		key.owner = "order " + entry.Order
	case entry.Reservation != "":
		key.owner = "reservation " + entry.Reservation
	case entry.EventID != "":
		key.owner = "event " + entry.EventID
	default:
		return effect{}, false
	}
	if entry.Line < 0 {
		key.sku = entry.SKU
	}
	return key, true
}

func effectSubject(entry *Entry) string {
	key, _ := effectOf(entry)
	return key.owner
}

func because(entry *Entry) string {
	if entry.EventID == "" {
		return ""
	}
	return " (event " + entry.EventID + ")"
}
