package check

import (
	"fmt"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// CacheAgrees is a guarantee of systems that count stock in a cache beside the database; it is not one of [OrderAndStock].
var CacheAgrees = Guarantee{
	ID: "I2", Name: "cache-agrees",
	Statement: "At rest, the cache counts as many units of each SKU as the committed stock row has available.",
	Check:     checkCacheAgrees,
}

func checkCacheAgrees(v *View) (f Finding) {
	for _, probe := range v.latest(history.ProbeCache) {
		sku := v.skus[probe.Subject]
		if sku == nil || len(sku.Rows) == 0 || !probe.OK && len(sku.Rows) == 1 {
			continue // nobody asked the cache for it
		}
		f.Examined++
		row := sku.Rows[len(sku.Rows)-1]
		said := fmt.Sprintf("the cache says %d available", probe.Numbers["available"])
		switch {
		case !probe.OK:
			said = "in the cache " + probe.Detail
		case probe.Numbers["available"] == row.Available:
			continue
		}
		f.Anomalies = append(f.Anomalies, Anomaly{
			Name: StaleCache, Subject: "sku " + sku.Name,
			Detail: fmt.Sprintf("%s, and the row %d since the commit at LSN %d", said, row.Available, row.LSN),
			Events: []int64{row.Seq, probe.Seq},
		})
	}
	if atRest, reason := v.rest(); !atRest && len(f.Anomalies) > 0 {
		f.Unknown = fmt.Sprintf("%s of the cache and the database, and %s", plural(len(f.Anomalies), "count differs", "counts differ"), reason)
		f.Anomalies = nil
	}
	return f
}
