package check

import "fmt"

var stockConserved = Guarantee{
	ID: "I2", Name: "stock-conserved",
	Statement: "After every commit, what was put in equals available + reserved + sold, the columns are what the ledger says, and the ledger only grows.",
	Check:     checkStockConserved,
}

// level is the three stock columns, of a row or as the ledger says they should be.
type level struct{ available, reserved, sold int64 }

func (l level) String() string {
	return fmt.Sprintf("available %d, reserved %d, sold %d", l.available, l.reserved, l.sold)
}

func (l level) minus(other level) level {
	return level{l.available - other.available, l.reserved - other.reserved, l.sold - other.sold}
}

func (r StockRow) level() level { return level{r.Available, r.Reserved, r.Sold} }

// apply moves a level as a ledger entry says, and returns what the entry put into the SKU.
func (l *level) apply(entry *Entry) (supplied int64) {
	switch entry.Op {
	case LedgerInitial, LedgerRestock:
		l.available += entry.Qty
		return entry.Qty
	case LedgerReserve:
		l.available -= entry.Qty
		l.reserved += entry.Qty
	case LedgerRelease:
		l.reserved -= entry.Qty
		l.available += entry.Qty
	case LedgerSell:
		l.reserved -= entry.Qty
		l.sold += entry.Qty
	}
	return 0
}

func checkStockConserved(v *View) (f Finding) {
	for _, sku := range v.SKUs {
		found := skuAnomalies{sku: sku}
		f.Examined += sku.commits(found.judge)
		f.Anomalies = append(f.Anomalies, found.list()...)
		f.Examined += len(sku.Rewrites)
		if len(sku.Rewrites) > 0 {
			f.Anomalies = append(f.Anomalies, rewritten(sku))
		}
	}
	return f
}

func rewritten(sku *SKU) Anomaly {
	first := sku.Rewrites[0]
	verb := "changed"
	if first.Action == "delete" {
		verb = "deleted"
	}
	anomaly := Anomaly{
		Name: LedgerRewritten, Subject: "sku " + sku.Name,
		Detail: fmt.Sprintf("the commit at LSN %d %s entry %s of the append-only ledger%s",
			first.LSN, verb, first.EntryID, likewise(len(sku.Rewrites)-1, "rewrite", "rewrites")),
	}
	for _, rewrite := range sku.Rewrites {
		anomaly.Events = append(anomaly.Events, rewrite.Seq)
	}
	return anomaly
}

// boundary is one SKU after one commit.
type boundary struct {
	lsn                  uint64
	before, columns      level // of the row, before and after the commit
	ledgerBefore, ledger level
	supply               int64
	events               []int64
}

// commits walks the commits that touched the SKU in LSN order, all rows of one commit applied, and
// returns how many there were.
func (s *SKU) commits(visit func(boundary)) int {
	var columns, ledger level
	var supply int64
	count, row, entry := 0, 0, 0
	for row < len(s.Rows) || entry < len(s.Entries) {
		lsn := s.nextLSN(row, entry)
		b := boundary{lsn: lsn, before: columns, ledgerBefore: ledger}
		for ; row < len(s.Rows) && s.Rows[row].LSN == lsn; row++ {
			columns = s.Rows[row].level()
			b.events = append(b.events, s.Rows[row].Seq)
		}
		for ; entry < len(s.Entries) && s.Entries[entry].LSN == lsn; entry++ {
			supply += ledger.apply(s.Entries[entry])
			b.events = append(b.events, s.Entries[entry].Seq)
		}
		b.columns, b.ledger, b.supply = columns, ledger, supply
		count++
		visit(b)
	}
	return count
}

func (s *SKU) nextLSN(row, entry int) uint64 {
	switch {
	case row == len(s.Rows):
		return s.Entries[entry].LSN
	case entry == len(s.Entries):
		return s.Rows[row].LSN
	default:
		return min(s.Rows[row].LSN, s.Entries[entry].LSN)
	}
}

// skuAnomalies keeps the first bad commit of each kind, and counts the others: one lost update skews
// every later commit.
type skuAnomalies struct {
	sku                  *SKU
	first                [3]*Anomaly // conservation, update, oversell
	count                [3]int
	unbalanced, oversold bool
}

func (s *skuAnomalies) judge(b boundary) {
	total := b.columns.available + b.columns.reserved + b.columns.sold
	unbalanced := total != b.supply
	if unbalanced && !s.unbalanced {
		s.note(0, b, ConservationBroken, "after the commit at LSN %d %s put in but the columns hold %d (%v)",
			b.lsn, plural(b.supply, "unit was", "units were"), total, b.columns)
	}
	s.unbalanced = unbalanced

	moved, said := b.columns.minus(b.before), b.ledger.minus(b.ledgerBefore)
	if moved != said {
		s.note(1, b, LostUpdate, "the commit at LSN %d took the row from (%v) to (%v), but its ledger entries move it by (%v)",
			b.lsn, b.before, b.columns, said)
	}

	oversold := b.ledger.available < 0
	if oversold && !s.oversold {
		s.note(2, b, Oversell, "after the commit at LSN %d the ledger has %d reserved and %d sold of %d",
			b.lsn, b.ledger.reserved, b.ledger.sold, b.supply)
	}
	s.oversold = oversold
}

func (s *skuAnomalies) note(kind int, b boundary, name, format string, values ...any) {
	s.count[kind]++
	if s.first[kind] == nil {
		s.first[kind] = &Anomaly{
			Name: name, Subject: "sku " + s.sku.Name, Detail: fmt.Sprintf(format, values...), Events: b.events,
		}
	}
}

func (s *skuAnomalies) list() []Anomaly {
	var anomalies []Anomaly
	for kind, anomaly := range s.first {
		if anomaly == nil {
			continue
		}
		anomaly.Detail += likewise(s.count[kind]-1, "commit", "commits")
		anomalies = append(anomalies, *anomaly)
	}
	return anomalies
}
