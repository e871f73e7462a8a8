package check

import (
	"fmt"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

var offsetAfterEffects = Guarantee{
	ID: "I10", Name: "offset-after-effects",
	Statement: "No consumer commits an offset before the COMMIT of the transactions that handled the records below it was sent.",
	Check:     checkOffsetAfterEffects,
}

// checkOffsetAfterEffects judges each record where an offset above it is first committed. A record that no
// COMMIT of the service names is left to the guarantee that it was handled at all.
func checkOffsetAfterEffects(v *View) (f Finding) {
	owned := newOwnership(v)
	for _, service := range v.services() {
		handled := v.firstCommits(owned, service)
		covered := make(map[partitionKey]int64) // the highest offset committed so far
		for i := range v.offsets {
			o := &v.offsets[i]
			key := partitionKey{o.next.Topic, o.next.Partition}
			partition := v.partitions[key]
			if partition == nil || o.next.Offset <= covered[key] || !owned.by(o.link, service.Name) {
				continue
			}
			from := partition.search(covered[key])
			covered[key] = o.next.Offset
			reused, cut := partition.cutFrom()
			for _, record := range partition.Records[from:] {
				if record.Offset >= o.next.Offset || cut && record.Offset >= reused {
					break // from there on an offset does not say which record it means
				}
				c := handled[v.symbols.known(record.EventID)]
				if c == nil || record.Aborted {
					continue
				}
				f.Examined++
				if o.Seq < c.sent().Seq {
					f.Anomalies = append(f.Anomalies, v.offsetTooEarly(service, o, record, c))
				}
			}
		}
	}
	return f
}

// firstCommits maps each consumed event to the first COMMIT of the service that may have handled it.
func (v *View) firstCommits(owned *ownership, service history.Service) map[symbol]*commit {
	consumed := make(map[symbol]bool)
	for _, event := range v.Events {
		if event.handledBy(service.Group) {
			consumed[v.symbols.known(event.ID)] = true
		}
	}
	first := make(map[symbol]*commit)
	for i := range v.commits {
		c := &v.commits[i]
		if c.undone || c.sent().Seq == 0 || !owned.by(c.link, service.Name) {
			continue
		}
		for _, token := range v.carried(c.tokens) {
			if consumed[token] && first[token] == nil {
				first[token] = c
			}
		}
	}
	return first
}

func (v *View) offsetTooEarly(service history.Service, o *offsetCommit, record *Record, c *commit) Anomaly {
	return Anomaly{
		Name: OffsetBeforeEffects, Subject: "event " + record.EventID,
		Detail: fmt.Sprintf("%s committed offset %d of %s/%d on %s, past offset %d, before the COMMIT that handled it went on through %s",
			service.Group, o.next.Offset, o.next.Topic, o.next.Partition, v.symbols.name(o.link), record.Offset, v.symbols.name(c.link)),
		Events: []int64{record.Seq, o.Seq, c.sent().Seq},
	}
}
