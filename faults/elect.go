package faults

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/history"
)

type elect struct{ onTopic }

// Elect moves the lead of every partition of a topic to another of its replicas, once, as an operator does who
// balances the cluster: it makes that one the preferred replica and asks for its election. Nothing is down meanwhile.
func Elect(topic string) harness.Fault { return elect{onTopic{topic}} }

func (elect) Name() string { return "elect" }

func (f elect) Validate(t harness.Topology) error {
	if err := t.CheckApart(); err != nil {
		return err
	}
	return f.onTopic.Validate(t)
}

func (f elect) Prepare(env *harness.Env) harness.Injection {
	return &election{env: env, topic: f.topic}
}

type election struct {
	env     *harness.Env
	topic   string
	moved   int // partitions that another broker leads
	overlap func() int
	events  func() []history.Event
}

func (e *election) Inject(ctx context.Context) error {
	admin, err := e.env.Admin()
	if err != nil {
		return err
	}
	defer admin.Close()
	before, err := e.partitions(ctx, admin)
	if err != nil {
		return err
	}
	wanted := map[int32]int32{} // partition → its next leader
	var order kadm.AlterPartitionAssignmentsReq
	var all kadm.TopicsSet
	for number, p := range before {
		// The leader goes to the end of the list, whose first is preferred.
		others := slices.DeleteFunc(slices.Clone(p.Replicas), func(node int32) bool { return node == p.Leader })
		wanted[number] = others[0]
		order.Assign(e.topic, number, append(others, p.Leader))
		all.Add(e.topic, number)
	}
	e.overlap, e.events = e.env.Overlapping(), e.env.Since()
	reordered, err := admin.AlterPartitionAssignments(ctx, order)
	if err = errors.Join(err, reordered.Error()); err != nil {
		return fmt.Errorf("prefer other replicas of %s: %w", e.topic, err)
	}
	results, err := admin.ElectLeaders(ctx, kadm.ElectPreferredReplica, all)
	if err != nil {
		return fmt.Errorf("elect leaders of %s: %w", e.topic, err)
	}
	for _, result := range results[e.topic] {
		// Not needed where the reassignment moved the lead by itself.
		if result.Err != nil && !errors.Is(result.Err, kerr.ElectionNotNeeded) {
			return fmt.Errorf("elect leader of %s/%d: %w", e.topic, result.Partition, result.Err)
		}
	}
	return e.awaitMoved(ctx, admin, wanted)
}

// movedWithin bounds the wait for the new leaders to be known.
const movedWithin = 10 * time.Second

// awaitMoved waits until all moved; one is enough.
func (e *election) awaitMoved(ctx context.Context, admin *kadm.Client, wanted map[int32]int32) error {
	ctx, cancel := context.WithTimeout(ctx, movedWithin)
	defer cancel()
	err := harness.Await(ctx, "other leaders of "+e.topic, func(ctx context.Context) (bool, string, error) {
		now, err := e.partitions(ctx, admin)
		moved := 0
		for number, p := range now {
			if p.Leader == wanted[number] {
				moved++
			}
		}
		e.moved = max(e.moved, moved)
		return moved == len(wanted), fmt.Sprintf("%d of %d moved", moved, len(wanted)), err
	})
	if e.moved > 0 {
		return nil
	}
	return err
}

func (e *election) partitions(ctx context.Context, admin *kadm.Client) (kadm.PartitionDetails, error) {
	topics, err := admin.ListTopics(ctx, e.topic)
	if err == nil {
		err = topics.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("find leaders of %s: %w", e.topic, err)
	}
	return topics[e.topic].Partitions, nil
}

// Heal does nothing: the new leaders are as good as the old.
func (e *election) Heal(context.Context) error { return nil }

func (e *election) Evidence() harness.Evidence {
	if e.overlap == nil {
		return harness.Evidence{Effect: "no leader was elected"}
	}
	operations, told := e.overlap(), 0
	for _, event := range e.events() {
		if w := event.Wire; w != nil && w.Status == kerr.NotLeaderForPartition.Message {
			told++
		}
	}
	return harness.Evidence{
		Bit: e.moved > 0 && operations > 0,
		Effect: fmt.Sprintf("another broker leads %d partitions of %s; clients were told %d times that they asked the wrong one; %d client operations were in flight from then on",
			e.moved, e.topic, told, operations),
	}
}
