package check

import "fmt"

var noDuplicateRecord = Guarantee{
	ID: "I18", Name: "no-duplicate-record",
	Statement: "Each event that a service announces is in its topic once, as an idempotent producer promises.",
	Check:     checkDuplicateRecords,
}

// checkDuplicateRecords is for systems whose every producer of events is idempotent and tries no event again by itself.
// Where a relay publishes at least once, duplicates are legal.
func checkDuplicateRecords(v *View) (f Finding) {
	for _, event := range v.Events {
		first := firstVisible(event)
		if first == nil || v.producer(first.Topic) == "" {
			continue
		}
		f.Examined++
		for _, record := range event.Records {
			if record == first || !record.Visible() || record.Topic != first.Topic {
				continue
			}
			f.Anomalies = append(f.Anomalies, Anomaly{
				Name: DuplicateRecord, Subject: "event " + event.ID,
				Detail: fmt.Sprintf("it is at %v and again at %v (order %s)", first.Position(), record.Position(), event.Order),
				Events: []int64{first.Seq, record.Seq},
			})
			break
		}
	}
	return f
}
