package check

import "fmt"

var stockNeverNegative = Guarantee{
	ID: "I1", Name: "stock-never-negative",
	Statement: "No committed stock row ever has a column below zero.",
	Check:     checkStockNeverNegative,
}

func checkStockNeverNegative(v *View) (f Finding) {
	for _, sku := range v.SKUs {
		var first *StockRow
		bad := 0
		for i := range sku.Rows {
			row := &sku.Rows[i]
			f.Examined++
			if row.Available < 0 || row.Reserved < 0 || row.Sold < 0 {
				bad++
				if first == nil {
					first = row
				}
			}
		}
		if first != nil {
			f.Anomalies = append(f.Anomalies, Anomaly{
				Name: NegativeStock, Subject: "sku " + sku.Name,
				Detail: fmt.Sprintf("the commit at LSN %d left %s; %d of %s below zero",
					first.LSN, first.level(), bad, plural(len(sku.Rows), "committed version was", "committed versions were")),
				Events: []int64{first.Seq},
			})
		}
	}
	return f
}
