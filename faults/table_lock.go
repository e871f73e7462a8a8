package faults

import (
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ordeal-chaos/ordeal/harness"
)

type tableLock struct{ database, table string }

// TableLock locks a table against writing until healed, as a migration does. Statements that write to it wait, and fail
// when they have waited for too long: before anything was committed.
func TableLock(database, table string) harness.Fault { return tableLock{database, table} }

func (tableLock) Name() string { return "table-lock" }

func (f tableLock) Target() string { return f.database + "." + f.table }

func (f tableLock) Validate(t harness.Topology) error { return t.CheckDatabase(f.database) }

func (f tableLock) Prepare(env *harness.Env) harness.Injection {
	return &locking{
		fault: f, env: env, database: f.database, what: "the table",
		query: fmt.Sprintf("LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE", pgx.Identifier{f.table}.Sanitize()),
	}
}
