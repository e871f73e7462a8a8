package faults

import (
	"context"
	"fmt"
	"strings"

	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/stack"
)

type dropSlot struct{ database string }

// DropSlot drops the replication slots that a database's services read, once, as soon as nobody reads them. The harness's
// own stays.
func DropSlot(database string) harness.Fault { return dropSlot{database} }

func (dropSlot) Name() string { return "drop-slot" }

func (f dropSlot) Target() string { return f.database }

func (f dropSlot) Validate(t harness.Topology) error { return t.CheckDatabase(f.database) }

func (f dropSlot) Prepare(env *harness.Env) harness.Injection {
	return &dropping{fault: f, env: env, overlap: env.Overlapping()}
}

type dropping struct {
	fault   dropSlot
	env     *harness.Env
	overlap func() int
	dropped []string
}

func (d *dropping) Inject(ctx context.Context) error {
	connection, err := d.env.Connect(ctx, d.fault.database)
	if err != nil {
		return err
	}
	defer connection.Close(context.WithoutCancel(ctx))
	bounded, cancel := context.WithTimeout(ctx, harness.Patience)
	defer cancel()
	// The server takes a moment to notice that a reader died.
	return harness.Await(bounded, "slots that nobody reads", func(ctx context.Context) (bool, string, error) {
		rows, err := connection.Query(ctx, `SELECT slot_name::text, active FROM pg_replication_slots
			WHERE database = $1 AND slot_name <> $2`, d.fault.database, stack.SlotName(d.fault.database))
		if err != nil {
			return false, "", err
		}
		free, seen := []string{}, ""
		var slot string
		var active bool
		for rows.Next() {
			if err := rows.Scan(&slot, &active); err != nil {
				rows.Close()
				return false, "", err
			}
			if seen += fmt.Sprintf("%s (active: %v) ", slot, active); !active {
				free = append(free, slot)
			}
		}
		if err := rows.Err(); err != nil {
			return false, "", err
		}
		for _, slot := range free {
			if _, err := connection.Exec(ctx, "SELECT pg_drop_replication_slot($1)", slot); err != nil {
				return false, "", fmt.Errorf("drop slot %s: %w", slot, err)
			}
			d.dropped = append(d.dropped, slot)
			d.overlap = d.env.Overlapping()
		}
		return len(free) > 0, seen, nil
	})
}

// Heal does nothing: whoever needs the slot makes it anew.
func (d *dropping) Heal(context.Context) error { return nil }

func (d *dropping) Evidence() harness.Evidence {
	operations := d.overlap()
	return harness.Evidence{
		Bit:    len(d.dropped) > 0 && operations > 0,
		Effect: fmt.Sprintf("slots dropped: %s; %d client operations were in flight from then on", strings.Join(d.dropped, " "), operations),
	}
}
