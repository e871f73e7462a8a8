package check

import (
	"cmp"
	"fmt"
	"slices"
)

var logSound = Guarantee{
	ID: "I18", Name: "log-sound",
	Statement: "Each offset has one value, reading never goes back, and what the broker acknowledged is in the log.",
	Check:     checkLog,
}

func checkLog(v *View) (f Finding) {
	f.Facts = map[string]int64{"duplicate_records": 0, "duplicated_events": 0}
	for _, partition := range v.Partitions {
		f.Examined += len(partition.Records)
		for _, conflict := range partition.conflicts {
			f.Anomalies = append(f.Anomalies, inconsistent(partition, conflict))
		}
		if len(partition.cut) > 0 {
			f.Examined += len(partition.cut)
			f.Anomalies = append(f.Anomalies, wentBack(partition))
		}
	}
	v.checkAcks(&f)
	for _, event := range v.Events {
		visible := int64(0)
		for _, record := range event.Records {
			if record.Visible() {
				visible++
			}
		}
		if visible > 1 {
			f.Facts["duplicate_records"] += visible - 1
			f.Facts["duplicated_events"]++
		}
	}
	return f
}

func inconsistent(partition *Partition, c conflict) Anomaly {
	anomaly := Anomaly{Name: InconsistentOffset, Subject: partition.String(), Events: []int64{c.second.Seq}}
	if c.first == nil {
		anomaly.Detail = fmt.Sprintf("offset %d first appeared after later offsets had been read", c.second.Offset)
		return anomaly
	}
	anomaly.Detail = fmt.Sprintf("offset %d was read with two values, of keys %q and %q", c.second.Offset, c.first.Key, c.second.Key)
	anomaly.Events = append(anomaly.Events, c.first.Seq)
	return anomaly
}

// wentBack is about records that consumers were shown and that are in the log no more.
func wentBack(partition *Partition) Anomaly {
	first := slices.MinFunc(partition.cut, func(a, b *Record) int { return cmp.Compare(a.Offset, b.Offset) })
	anomaly := Anomaly{
		Name: InconsistentOffset, Subject: partition.String(),
		Detail: fmt.Sprintf("%s, the first of them at offset %d (event %s, key %s)",
			plural(len(partition.cut), "record was read and is not in the log at the end", "records were read and are not in the log at the end"),
			first.Offset, first.EventID, first.Key),
	}
	for _, record := range partition.cut {
		anomaly.Events = append(anomaly.Events, record.Seq)
	}
	return anomaly
}

// checkAcks looks up every batch that a broker acknowledged. A log that was cut and written again has
// another record there, so that the one found must be one that the request carried.
func (v *View) checkAcks(f *Finding) {
	judged := make(map[Position]bool, len(v.acks))
	for i := range v.acks {
		a := &v.acks[i]
		if judged[a.at] {
			continue
		}
		judged[a.at] = true
		f.Examined++
		record := v.at(a.at)
		subject := (&Partition{Topic: a.at.Topic, Number: a.at.Partition}).String()
		switch {
		case record == nil:
			f.Anomalies = append(f.Anomalies, Anomaly{
				Name: LostWrite, Subject: subject,
				Detail: fmt.Sprintf("the broker acknowledged offset %d, but the log has no record there", a.at.Offset),
				Events: []int64{a.Seq},
			})
		case len(v.carried(a.tokens)) > 0 && !v.sent(a.tokens, record):
			f.Anomalies = append(f.Anomalies, Anomaly{
				Name: LostWrite, Subject: subject,
				Detail: fmt.Sprintf("the broker acknowledged offset %d, but the log has another record there (event %s, key %s)",
					a.at.Offset, record.EventID, record.Key),
				Events: []int64{a.Seq, record.Seq},
			})
		}
	}
}

// sent says whether a produce carried the record: any of its ids will do, because a tap takes only what
// reads like an id for a token.
func (v *View) sent(tokens span, record *Record) bool {
	carried := func(text string) bool {
		token := v.symbols.known(text)
		return token != 0 && v.carries(tokens, token)
	}
	if carried(record.Key) || carried(record.EventID) {
		return true
	}
	for _, header := range record.Headers {
		if header.Name != headerEventType && carried(header.Value) {
			return true
		}
	}
	return false
}
