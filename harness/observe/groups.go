package observe

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// Group is a consumer group and the topics that it consumes.
type Group struct {
	Name   string
	Topics []string
}

// GroupLag is how far a consumer group has come in one partition.
type GroupLag struct {
	Group     string
	Topic     string
	Partition int32
	Committed int64 // -1 for none
	Start     int64 // first offset of the partition
	End       int64 // high watermark; control records count
	Members   int   // of the whole group
	State     string
}

// Probe is the lag as a [history.ProbeGroup]. It is OK when nothing is left to consume, up to the high
// watermark.
func (l GroupLag) Probe() history.Probe {
	return history.Probe{
		Name:    history.ProbeGroup,
		Subject: fmt.Sprintf("%s/%s/%d", l.Group, l.Topic, l.Partition),
		OK:      l.Done(l.End),
		Numbers: map[string]int64{"committed": l.Committed, "end": l.End, "members": int64(l.Members)},
		Detail:  l.State,
	}
}

// Done says whether the group has committed up to end, or there is nothing before it.
func (l GroupLag) Done(end int64) bool { return max(l.Committed, l.Start) >= end }

// Groups says for every partition of every topic of every group how far the group has come, in the order
// of the groups, topics and partitions. A group that never was has committed nothing.
func (t *Topics) Groups(ctx context.Context, groups []Group) ([]GroupLag, error) {
	lags, err := groupLags(ctx, t.admin, groups)
	if err != nil {
		return nil, fmt.Errorf("read groups: %w", err)
	}
	return lags, nil
}

func groupLags(ctx context.Context, admin *kadm.Client, groups []Group) ([]GroupLag, error) {
	var lags []GroupLag
	for _, group := range groups {
		described, err := admin.DescribeGroups(ctx, group.Name)
		if err != nil {
			return nil, fmt.Errorf("describe group %s: %w", group.Name, err)
		}
		// Committed offsets first: what is produced between the two only makes the lag look larger.
		committed, err := admin.FetchOffsets(ctx, group.Name)
		if err != nil && !errors.Is(err, kerr.GroupIDNotFound) { // a group that never was has none
			return nil, fmt.Errorf("read committed offsets of group %s: %w", group.Name, err)
		}
		starts, err := offsets(admin.ListStartOffsets(ctx, group.Topics...))
		if err != nil {
			return nil, fmt.Errorf("read starts of topics of group %s: %w", group.Name, err)
		}
		ends, err := offsets(admin.ListEndOffsets(ctx, group.Topics...))
		if err != nil {
			return nil, fmt.Errorf("read ends of topics of group %s: %w", group.Name, err)
		}
		for _, where := range ends.sorted() {
			lag := GroupLag{
				Group: group.Name, Topic: where.topic, Partition: where.partition, Committed: -1,
				Start: starts[where], End: ends[where],
				Members: len(described[group.Name].Members), State: described[group.Name].State,
			}
			if at, ok := committed.Lookup(where.topic, where.partition); ok {
				if at.Err != nil {
					return nil, fmt.Errorf("read committed offset of group %s in %s/%d: %w", group.Name, where.topic, where.partition, at.Err)
				}
				lag.Committed = at.At
			}
			lags = append(lags, lag)
		}
	}
	return lags, nil
}
