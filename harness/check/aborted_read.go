package check

import "fmt"

var noAbortedRead = Guarantee{
	ID: "I18", Name: "no-aborted-read",
	Statement: "Nothing takes effect that was only in Kafka transactions that were aborted.",
	Check:     checkAbortedReads,
}

// checkAbortedReads looks for Jepsen's aborted read (Adya's G1a): an event of which the log holds aborted records only,
// and which a consumer handled all the same.
func checkAbortedReads(v *View) (f Finding) {
	for _, event := range v.Events {
		aborted := abortedOnly(event)
		if aborted == nil {
			continue
		}
		f.Examined++
		if len(event.Inbox)+len(event.Entries) == 0 {
			continue
		}
		anomaly := Anomaly{Name: AbortedRead, Subject: "event " + event.ID, Events: []int64{aborted.Seq}}
		for _, entry := range event.Entries {
			anomaly.Detail = fmt.Sprintf("it caused %s of %d of %s (order %s)", entry.Op, entry.Qty, entry.SKU, event.Order)
			anomaly.Events = append(anomaly.Events, entry.Seq)
		}
		for _, row := range event.Inbox {
			anomaly.Detail = fmt.Sprintf("group %s handled it (%s, order %s)", row.Consumer, row.Outcome, event.Order)
			anomaly.Events = append(anomaly.Events, row.Seq)
		}
		anomaly.Detail += fmt.Sprintf(", but the transaction that produced it at %v was aborted", aborted.Position())
		f.Anomalies = append(f.Anomalies, anomaly)
	}
	return f
}

// abortedOnly returns the first record of an event that has none but aborted ones. A copy that the harness appended
// counts for a committed one: a consumer may act on it.
func abortedOnly(event *Event) *Record {
	for _, record := range event.Records {
		if !record.Aborted {
			return nil
		}
	}
	if len(event.Records) == 0 {
		return nil
	}
	return event.Records[0]
}
