package check

import "fmt"

var consumedRecordsHandled = Guarantee{
	ID: "I10", Name: "consumed-records-handled",
	Statement: "Every record below a group's committed offset was applied, ignored or dead-lettered by that group.",
	Check:     checkConsumed,
}

func checkConsumed(v *View) (f Finding) {
	for _, offset := range v.groupOffsets() {
		partition := v.partition(offset.topic, offset.partition)
		if partition == nil {
			continue
		}
		for _, record := range partition.Records {
			if record.Offset >= offset.committed {
				break
			}
			if record.Aborted {
				continue
			}
			f.Examined++
			if v.handled(record, offset.group) {
				continue
			}
			f.Anomalies = append(f.Anomalies, Anomaly{
				Name: SkippedRecord, Subject: partition.String(),
				Detail: fmt.Sprintf("group %s committed offset %d, past offset %d (event %s, key %s) that it never handled",
					offset.group, offset.committed, record.Offset, record.EventID, record.Key),
				Events: []int64{record.Seq, offset.probe.Seq},
			})
		}
	}
	return f
}

// handled says whether the group's inbox has the record under any id that a consumer may read from
// it, or whether its ledger shows the effect where a design keeps no inbox.
func (v *View) handled(record *Record, group string) bool {
	for _, id := range []string{record.EventID, record.Header(headerEventID)} {
		if event := v.events[id]; id != "" && event != nil && (event.handledBy(group) || len(event.Entries) > 0) {
			return true
		}
	}
	// The position is tried last: writing it down costs more than looking up an id.
	event := v.events[record.Position().String()]
	return event != nil && event.handledBy(group)
}

func (e *Event) handledBy(group string) bool {
	for _, row := range e.Inbox {
		if row.Consumer == group {
			return true
		}
	}
	return false
}
