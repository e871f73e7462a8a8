package check

import "fmt"

var compensationBounded = Guarantee{
	ID: "I20", Name: "compensation-bounded",
	Statement: "Each release follows a reserve of the same line and the same quantity, and there are never more of them.",
	Check:     checkCompensation,
}

func checkCompensation(v *View) (f Finding) {
	type fold struct {
		reserved, released int64
		reserve            *Entry
		reported           bool
	}
	folds := make(map[effect]*fold)
	for _, entry := range v.Entries {
		if entry.Op != LedgerReserve && entry.Op != LedgerRelease {
			continue
		}
		key, ok := effectOf(entry)
		if !ok {
			continue
		}
		key.op, key.sku = "", entry.SKU // both operations of one line and SKU together
		line := folds[key]
		if line == nil {
			line = &fold{}
			folds[key] = line
		}
		if entry.Op == LedgerReserve {
			line.reserved += entry.Qty
			line.reserve = entry
			continue
		}
		f.Examined++
		line.released += entry.Qty
		equal := line.reserve != nil && entry.Qty == line.reserve.Qty
		if line.released <= line.reserved && equal || line.reported {
			continue
		}
		line.reported = true
		anomaly := Anomaly{
			Name: OverCompensation, Subject: key.owner,
			Detail: fmt.Sprintf("line %d: the release of %d of %s at LSN %d makes %d released of %d reserved",
				entry.Line, entry.Qty, entry.SKU, entry.LSN, line.released, line.reserved),
			Events: []int64{entry.Seq},
		}
		if line.reserve != nil {
			anomaly.Events = append(anomaly.Events, line.reserve.Seq)
		}
		f.Anomalies = append(f.Anomalies, anomaly)
	}
	return f
}
