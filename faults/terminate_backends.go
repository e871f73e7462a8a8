package faults

import (
	"context"
	"fmt"
	"strings"

	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/history"
)

// adminShutdown is the SQLSTATE that a terminated backend sends: https://www.postgresql.org/docs/17/errcodes-appendix.html
const adminShutdown = "57P01"

type terminateBackends struct{ database string }

// TerminateBackends ends every backend of a database that a service uses, once, as an administrator or a failover does.
func TerminateBackends(database string) harness.Fault { return terminateBackends{database} }

func (terminateBackends) Name() string { return "terminate-backends" }

func (f terminateBackends) Target() string { return f.database }

func (f terminateBackends) Validate(t harness.Topology) error { return t.CheckDatabase(f.database) }

func (f terminateBackends) Prepare(env *harness.Env) harness.Injection {
	return &termination{fault: f, env: env, events: env.Since()}
}

type termination struct {
	fault  terminateBackends
	env    *harness.Env
	events func() []history.Event
}

func (t *termination) Inject(ctx context.Context) error {
	connection, err := t.env.Connect(ctx, t.fault.database)
	if err != nil {
		return err
	}
	defer connection.Close(context.WithoutCancel(ctx))
	// The harness's own connections stay: what other faults hold, and the write-ahead log tap, which is a walsender.
	if _, err := connection.Exec(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = $1 AND backend_type = 'client backend' AND application_name <> $2`, t.fault.database, harness.ApplicationName); err != nil {
		return fmt.Errorf("terminate backends of %s: %w", t.fault.database, err)
	}
	return nil
}

func (t *termination) Heal(context.Context) error { return nil }

func (t *termination) Evidence() harness.Evidence {
	server := "->" + t.env.Topology.Databases[t.fault.database]
	seen := 0
	for _, event := range t.events() {
		if w := event.Wire; w != nil && w.Status == adminShutdown && strings.HasSuffix(w.Link, server) {
			seen++
		}
	}
	return harness.Evidence{Bit: seen > 0, Effect: fmt.Sprintf("%d connections were told SQLSTATE %s", seen, adminShutdown)}
}
