package check

import "fmt"

var noAbortedRead = Guarantee{
	ID: "I18", Name: "no-aborted-read",
	Statement: "No consumer handles a record of a Kafka transaction that was aborted.",
	Check:     checkAbortedReads,
}

// checkAbortedReads looks for Jepsen's aborted read (Adya's G1a). An event can be in an aborted transaction and again in
// one that was committed, when its producer tried again: what a consumer handled, its inbox says by position. Where it
// keeps none, the ledger tells of events that were never committed.
func checkAbortedReads(v *View) (f Finding) {
	for _, partition := range v.Partitions {
		for _, record := range partition.Records {
			if !record.Aborted {
				continue
			}
			f.Examined++
			event := v.event(record.EventID)
			anomaly := Anomaly{Name: AbortedRead, Subject: "event " + event.ID, Events: []int64{record.Seq}}
			for _, row := range event.Inbox {
				if (Position{row.Topic, row.Partition, row.Offset}) == record.Position() {
					anomaly.Detail = fmt.Sprintf("group %s handled it (%s, order %s)", row.Consumer, row.Outcome, event.Order)
					anomaly.Events = append(anomaly.Events, row.Seq)
				}
			}
			if anomaly.Detail == "" && !event.committed() {
				for _, entry := range event.Entries {
					anomaly.Detail = fmt.Sprintf("it caused %s of %d of %s (order %s)", entry.Op, entry.Qty, entry.SKU, event.Order)
					anomaly.Events = append(anomaly.Events, entry.Seq)
				}
			}
			if anomaly.Detail != "" {
				anomaly.Detail += fmt.Sprintf(", but the transaction that produced it at %v was aborted", record.Position())
				f.Anomalies = append(f.Anomalies, anomaly)
			}
		}
	}
	return f
}

// committed says whether the log has a record of the event that was not aborted. A copy that the harness appended
// counts: a consumer may act on it.
func (e *Event) committed() bool {
	for _, record := range e.Records {
		if !record.Aborted {
			return true
		}
	}
	return false
}
