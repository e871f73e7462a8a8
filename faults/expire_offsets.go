package faults

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/stack"
)

type expireOffsets struct{ service string }

// ExpireOffsets stops the members of a service's consumer group and deletes what the group committed, as Kafka does
// with a group that was empty for longer than offsets.retention.minutes. On heal it starts the members.
func ExpireOffsets(service string) harness.Fault { return expireOffsets{service} }

func (expireOffsets) Name() string { return "expire-offsets" }

func (f expireOffsets) Target() string { return f.service }

func (f expireOffsets) Validate(t harness.Topology) error { return t.CheckConsumer(f.service) }

func (f expireOffsets) Prepare(env *harness.Env) harness.Injection {
	members := env.Replicas(f.service)
	return &expiring{exit: newExit(env, terminated, members, ""), group: env.Topology.Services[f.service].Group, members: members}
}

type expiring struct {
	*exit
	group   string
	members []stack.Node
	deleted int
}

func (e *expiring) Inject(ctx context.Context) error {
	if err := e.exit.Inject(ctx); err != nil {
		return err
	}
	client, err := e.env.Kafka()
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	if err := awaitEmpty(ctx, admin, e.group); err != nil {
		return err
	}
	committed, err := admin.FetchOffsets(ctx, e.group)
	if err != nil {
		return fmt.Errorf("fetch offsets of group %s: %w", e.group, err)
	}
	if _, err := admin.DeleteGroup(ctx, e.group); err != nil {
		return fmt.Errorf("delete group %s: %w", e.group, err)
	}
	left, err := admin.FetchOffsets(ctx, e.group)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return fmt.Errorf("fetch offsets of group %s: %w", e.group, err)
	}
	e.deleted = len(committed.Sorted()) - len(left.Sorted())
	return nil
}

// Evidence is that of the processes' end, and that offsets are gone.
func (e *expiring) Evidence() harness.Evidence {
	evidence := e.exit.Evidence()
	evidence.Bit = evidence.Bit && e.deleted > 0
	evidence.Effect = fmt.Sprintf("%d committed offsets were deleted; %s", e.deleted, evidence.Effect)
	return evidence
}
