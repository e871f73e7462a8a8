package faults

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/history"
)

type redeliver struct {
	service string
	records int64
}

// Redeliver makes a service's consumer group read the last records of each partition again: it stops
// the members, waits until the group is empty (a live group quietly refuses new offsets), rewinds,
// reads the offsets back, and starts the members.
func Redeliver(service string, records int64) harness.Fault { return redeliver{service, records} }

func (redeliver) Name() string { return "redeliver" }

func (f redeliver) Target() string { return f.service }

func (f redeliver) Validate(t harness.Topology) error { return t.CheckConsumer(f.service) }

func (f redeliver) Prepare(env *harness.Env) harness.Injection {
	r := &rewinding{fault: f, env: env, service: env.Topology.Services[f.service], events: env.Since(), before: map[string]bool{}}
	for _, event := range env.Log() {
		r.delivered(event, func(record string) { r.before[record] = true })
	}
	return r
}

type rewinding struct {
	fault   redeliver
	env     *harness.Env
	service harness.Service
	before  map[string]bool // delivered until Prepare
	events  func() []history.Event
	rewound int64
}

func (r *rewinding) Inject(ctx context.Context) error {
	for _, member := range r.env.Replicas(r.fault.service) {
		if err := member.Terminate(ctx); err != nil {
			return err
		}
	}
	return errors.Join(r.rewind(ctx), r.Heal(ctx))
}

// Heal starts the members that do not run.
func (r *rewinding) Heal(ctx context.Context) error {
	return r.env.Revive(ctx, r.env.Replicas(r.fault.service))
}

func (r *rewinding) rewind(ctx context.Context) error {
	client, err := r.env.Kafka()
	if err != nil {
		return err
	}
	defer client.Close()
	admin, group := kadm.NewClient(client), r.service.Group
	if err := awaitEmpty(ctx, admin, group); err != nil {
		return err
	}
	committed, err := admin.FetchOffsets(ctx, group)
	if err != nil {
		return fmt.Errorf("fetch offsets of group %s: %w", group, err)
	}
	wanted := kadm.Offsets{}
	committed.Each(func(o kadm.OffsetResponse) {
		target := max(0, o.At-r.fault.records)
		r.rewound += o.At - target
		wanted.AddOffset(o.Topic, o.Partition, target, -1)
	})
	if err := admin.CommitAllOffsets(ctx, group, wanted); err != nil {
		return fmt.Errorf("rewind group %s: %w", group, err)
	}
	now, err := admin.FetchOffsets(ctx, group)
	if err != nil {
		return fmt.Errorf("read back offsets of group %s: %w", group, err)
	}
	var refused []string
	wanted.Each(func(o kadm.Offset) {
		if at, ok := now.Lookup(o.Topic, o.Partition); !ok || at.At != o.At {
			refused = append(refused, fmt.Sprintf("%s/%d", o.Topic, o.Partition))
		}
	})
	if len(refused) > 0 {
		return fmt.Errorf("rewind group %s: offsets of %s did not move", group, strings.Join(refused, ", "))
	}
	return nil
}

// awaitEmpty waits until a group has no members.
func awaitEmpty(ctx context.Context, admin *kadm.Client, group string) error {
	return harness.Await(ctx, "empty group "+group, func(ctx context.Context) (bool, string, error) {
		groups, err := admin.DescribeGroups(ctx, group)
		if err != nil {
			return false, "", err
		}
		described := groups[group]
		return described.Err == nil && len(described.Members) == 0, fmt.Sprintf("%s with %d members", described.State, len(described.Members)), described.Err
	})
}

func (r *rewinding) Evidence() harness.Evidence {
	again := map[string]bool{}
	for _, event := range r.events() {
		r.delivered(event, func(record string) {
			if r.before[record] {
				again[record] = true
			}
		})
	}
	return harness.Evidence{
		Bit:    r.rewound > 0 && len(again) > 0,
		Effect: fmt.Sprintf("offsets went back by %d in all; %d records were delivered a second time", r.rewound, len(again)),
	}
}

// delivered calls each with the records that event shows being delivered to the service.
func (r *rewinding) delivered(event history.Event, each func(record string)) {
	w := event.Wire
	if w == nil || w.Kind != "Fetch" || w.Direction != history.Response {
		return
	}
	for _, replica := range r.env.Topology.Replicas[r.fault.service] {
		if strings.HasPrefix(w.Link, replica+"->") {
			for _, record := range w.Records {
				each(record)
			}
		}
	}
}
