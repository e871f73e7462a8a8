package check

import (
	"cmp"
	"slices"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// readEnds applies what only the end of the run tells of the logs: which records belong to aborted transactions,
// and which a broker lost after they had been read.
func (v *View) readEnds() {
	for _, probe := range v.latest(history.ProbeTopic) {
		where, ok := parsePosition(probe.Subject + "@0")
		if !ok {
			continue
		}
		said, err := history.ParseTopicDetail(probe.Probe)
		if err != nil {
			v.disorder = append(v.disorder, err.Error())
		}
		partition := v.partition(where.Topic, where.Partition)
		if partition == nil {
			continue
		}
		v.cut(partition, said.Cut)
		v.replace(partition, said.Replaced)
		for _, offset := range said.Aborted {
			if record := partition.At(offset); record != nil {
				record.Aborted = true
			}
		}
	}
}

// cut takes the records at some offsets off the log.
func (v *View) cut(partition *Partition, offsets []int64) {
	if len(offsets) == 0 {
		return
	}
	partition.Records = slices.DeleteFunc(partition.Records, func(r *Record) bool {
		_, lost := slices.BinarySearch(offsets, r.Offset)
		if lost {
			v.lose(partition, r)
		}
		return lost
	})
}

// replace puts the records that were read last into the places of those that were read first.
func (v *View) replace(partition *Partition, offsets []int64) {
	if len(offsets) == 0 {
		return
	}
	last := make(map[int64]*Record)
	for _, c := range partition.conflicts {
		last[c.second.Offset] = c.second
	}
	for i, first := range partition.Records {
		_, lost := slices.BinarySearch(offsets, first.Offset)
		if now := last[first.Offset]; lost && now != nil && now != first {
			v.lose(partition, first)
			partition.Records[i] = now
			v.file(now)
		}
	}
	// They are explained: the log has one value, and lost the other.
	partition.conflicts = slices.DeleteFunc(partition.conflicts, func(c conflict) bool {
		_, lost := slices.BinarySearch(offsets, c.second.Offset)
		return lost
	})
}

// lose notes that a record was in the log once. Its event keeps what it said.
func (v *View) lose(partition *Partition, record *Record) {
	record.Cut = true
	partition.cut = append(partition.cut, record)
	event := v.events[record.EventID]
	is := func(r *Record) bool { return r == record }
	event.Records = slices.DeleteFunc(event.Records, is)
	event.DeadLetters = slices.DeleteFunc(event.DeadLetters, is)
	event.Retries = slices.DeleteFunc(event.Retries, is)
}

// cutFrom is the first offset that the partition's log lost; false when it lost none. Offsets from there on may
// have been given twice.
func (p *Partition) cutFrom() (int64, bool) {
	if len(p.cut) == 0 {
		return 0, false
	}
	return slices.MinFunc(p.cut, func(a, b *Record) int { return cmp.Compare(a.Offset, b.Offset) }).Offset, true
}

// everAt are all records that were ever read at an offset, the one in the log first.
func (p *Partition) everAt(offset int64) []*Record {
	var records []*Record
	if record := p.At(offset); record != nil {
		records = append(records, record)
	}
	for _, record := range p.cut {
		if record.Offset == offset {
			records = append(records, record)
		}
	}
	return records
}
