package observe

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// Verify reads every partition again with fresh clients from its first offset, once as read_uncommitted
// and once as read_committed, and compares with what the tap saw as it happened. It returns a ProbeTopic
// for each partition (OK when the tap saw all that is in the log; numbers "start", "high", "stable" (last
// stable offset), "tapped", "aborted"; Detail as [history.TopicDetail] writes it) and one ProbeTap "topics", OK
// when all partitions are and no transaction is open. The error says that the comparison could not be made.
//
// What the tap saw and the log has no more is no fault of the observation: a broker that was elected without
// the newest records cut them off. The detail lists them, and what stands in their place is recorded.
func (t *Topics) Verify(ctx context.Context) ([]history.Probe, error) {
	probes, err := t.verify(ctx)
	if err != nil {
		return nil, fmt.Errorf("verify topics: %w", err)
	}
	return probes, nil
}

func (t *Topics) verify(ctx context.Context) ([]history.Probe, error) {
	starts, err := offsets(t.admin.ListStartOffsets(ctx, t.config.Topics...))
	if err != nil {
		return nil, err
	}
	stable, err := offsets(t.admin.ListCommittedOffsets(ctx, t.config.Topics...))
	if err != nil {
		return nil, err
	}
	seen := t.positions()
	ends, err := offsets(t.admin.ListEndOffsets(ctx, t.config.Topics...))
	if err != nil {
		return nil, err
	}
	t.shorten(seen, ends)
	if err := t.CatchUp(ctx); err != nil {
		return nil, err
	}
	all, err := t.reread(ctx, kgo.ReadUncommitted(), starts, ends, t.correct)
	if err != nil {
		return nil, err
	}
	committed, err := t.reread(ctx, kgo.ReadCommitted(), starts, stable, func(*kgo.Record) {})
	if err != nil {
		return nil, err
	}
	tap := history.Probe{Name: history.ProbeTap, Subject: "topics", OK: true, Numbers: map[string]int64{}}
	var probes []history.Probe
	for _, where := range ends.sorted() {
		high := ends[where]
		present := upTo(at(all, where.topic, where.partition).seen, high)
		t.mu.Lock()
		tapped := upTo(t.at(where.topic, where.partition).seen, high)
		cut, replaced := t.at(where.topic, where.partition).lost(present)
		t.mu.Unlock()
		aborted := missing(upTo(present, stable[where]), at(committed, where.topic, where.partition).seen)
		wrong := differ(tapped, present)
		probe := history.Probe{
			Name: history.ProbeTopic, Subject: fmt.Sprintf("%s/%d", where.topic, where.partition), OK: wrong == "",
			Numbers: map[string]int64{
				"start": starts[where], "high": high, "stable": stable[where],
				"tapped": int64(len(tapped)), "aborted": int64(len(aborted)),
			},
			Detail: history.TopicDetail{Aborted: aborted, Cut: cut, Replaced: replaced, Wrong: wrong}.String(),
		}
		probes = append(probes, probe)
		tap.Numbers["records"] += int64(len(tapped))
		tap.Numbers["aborted"] += int64(len(aborted))
		if tap.OK && !probe.OK {
			tap.OK, tap.Detail = false, probe.Subject+": "+wrong
		}
		if tap.OK && stable[where] < high {
			tap.OK, tap.Detail = false, fmt.Sprintf("%s: a transaction is open at offset %d", probe.Subject, stable[where])
		}
	}
	return append(probes, tap), nil
}

// positions are the offsets that the tap is about to read.
func (t *Topics) positions() partitionOffsets {
	t.mu.Lock()
	defer t.mu.Unlock()
	positions := make(partitionOffsets)
	for topic, partitions := range t.partitions {
		for number, p := range partitions {
			positions[topicPartition{topic, number}] = p.next
		}
	}
	return positions
}

// shorten makes the tap forget what it had seen beyond the ends that the brokers gave later.
func (t *Topics) shorten(seen, ends partitionOffsets) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for where, end := range ends {
		if p := t.at(where.topic, where.partition); seen[where] > end && p.next > end {
			p.truncate(end)
			p.next = end
		}
	}
}

// correct records r where a broker put it in the place of what the tap had seen. The tap is at the end, so that
// what comes after its position comes after such a place.
func (t *Topics) correct(r *kgo.Record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.at(r.Topic, r.Partition)
	if r.Offset >= p.next || p.rewritten(r) {
		t.record(r)
	}
}

// lost says what the log lost since the tap saw it, given what is there now.
func (p *partition) lost(present []sighting) (cut, replaced []int64) {
	now := partition{seen: present}
	for _, was := range p.cut {
		if i, found := now.search(was.offset); !found {
			cut = append(cut, was.offset)
		} else if present[i].hash != was.hash {
			replaced = append(replaced, was.offset)
		}
	}
	slices.Sort(cut)
	slices.Sort(replaced)
	return slices.Compact(cut), slices.Compact(replaced)
}

// reread reads all partitions from start to end with a client of its own, and calls each with every record.
func (t *Topics) reread(ctx context.Context, isolation kgo.IsolationLevel, starts, ends partitionOffsets, each func(*kgo.Record)) (map[string]map[int32]*partition, error) {
	read := make(map[string]map[int32]*partition)
	from := make(map[string]map[int32]kgo.Offset)
	var open int // partitions not yet read to their end
	for where, end := range ends {
		p := at(read, where.topic, where.partition)
		if p.next = starts[where]; p.next >= end {
			continue
		}
		open++
		if from[where.topic] == nil {
			from[where.topic] = make(map[int32]kgo.Offset)
		}
		from[where.topic][where.partition] = kgo.NewOffset().At(p.next)
	}
	if open == 0 {
		return read, nil
	}
	client, err := kgo.NewClient(append(kafkaOptions(t.config.Brokers, t.config.Dial),
		kgo.ConsumePartitions(from), kgo.FetchIsolationLevel(isolation), kgo.KeepControlRecords())...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	for open > 0 {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("read topics again: %d partitions are not at their end: %w", open, ctx.Err())
		}
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("read topics again: %w", err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			p, end := at(read, r.Topic, r.Partition), ends[topicPartition{r.Topic, r.Partition}]
			before := p.next
			p.take(r)
			each(r)
			if before < end && p.next >= end {
				open--
			}
		})
	}
	return read, nil
}

// upTo is the part of the sightings below an offset.
func upTo(seen []sighting, end int64) []sighting {
	p := partition{seen: seen}
	n, _ := p.search(end)
	return seen[:n]
}

// missing are the offsets of all that are not in some. Both are in offset order.
func missing(all, some []sighting) []int64 {
	var offsets []int64
	for _, s := range all {
		for len(some) > 0 && some[0].offset < s.offset {
			some = some[1:]
		}
		if len(some) == 0 || some[0].offset != s.offset {
			offsets = append(offsets, s.offset)
		}
	}
	return offsets
}

// differ says in words where the tap and the log first differ, or "" when they do not.
func differ(tapped, present []sighting) string {
	for i := range max(len(tapped), len(present)) {
		switch {
		case i >= len(tapped) || i < len(present) && present[i].offset < tapped[i].offset:
			return fmt.Sprintf("offset %d is in the log and was not tapped", present[i].offset)
		case i >= len(present) || tapped[i].offset < present[i].offset:
			return fmt.Sprintf("offset %d was tapped and is not in the log", tapped[i].offset)
		case tapped[i].hash != present[i].hash:
			return fmt.Sprintf("offset %d is not what was tapped", tapped[i].offset)
		}
	}
	return ""
}
