package faults

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ordeal-chaos/ordeal/harness"
)

type duplicateElsewhere struct {
	duplicate
	database string
}

// DuplicateElsewhere appends copies of a topic's last records, so many of each partition, each to the next
// partition, where another worker reads it at once, as two owners of one partition would. It then waits, for a second at
// most, until a consumer that uses the database waits for a lock there: two are at work on one event.
func DuplicateElsewhere(topic string, records int, database string) harness.Fault {
	return duplicateElsewhere{duplicate{onTopic{topic}, records}, database}
}

func (duplicateElsewhere) Name() string { return "duplicate-elsewhere" }

func (f duplicateElsewhere) Validate(t harness.Topology) error {
	if err := f.duplicate.Validate(t); err != nil {
		return err
	}
	if t.Partitions[f.topic] < 2 {
		return fmt.Errorf("topic %s has one partition: there is no other", f.topic)
	}
	return t.CheckDatabase(f.database)
}

func (f duplicateElsewhere) Prepare(env *harness.Env) harness.Injection {
	partitions := env.Topology.Partitions[f.topic]
	return &doubling{fault: f, env: env, appending: &appending{
		env: env, topic: f.topic, events: env.Since(), make: func(ctx context.Context, client *kgo.Client) ([]*kgo.Record, error) {
			copies, err := f.copies(ctx, env, client, f.records*int(partitions))
			for _, record := range copies {
				record.Partition = (record.Partition + 1) % partitions
			}
			return copies, err
		},
	}}
}

type doubling struct {
	*appending
	fault duplicateElsewhere
	env   *harness.Env
}

func (d *doubling) Inject(ctx context.Context) error {
	if err := d.appending.Inject(ctx); err != nil {
		return err
	}
	connection, err := d.env.Connect(ctx, d.fault.database)
	if err != nil {
		return err
	}
	defer connection.Close(context.WithoutCancel(ctx)) //nolint:errcheck // an observer's
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	// That nobody waits is no error: the copies may all be of events that were handled before.
	_ = harness.Await(ctx, "a consumer that waits for a lock", func(ctx context.Context) (bool, string, error) {
		var waiting int
		err := connection.QueryRow(ctx, `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0`).Scan(&waiting)
		return waiting > 0, fmt.Sprintf("%d waiting", waiting), err
	})
	return nil
}
