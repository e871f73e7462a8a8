package faults

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordeal-chaos/ordeal/harness"
)

type rowLock struct{ database, table, column, key string }

// RowLock holds the lock of one row until healed, as a forgotten transaction does: the row of table
// whose column equals key.
func RowLock(database, table, column, key string) harness.Fault {
	return rowLock{database, table, column, key}
}

func (rowLock) Name() string { return "row-lock" }

func (f rowLock) Target() string { return fmt.Sprintf("%s.%s %s", f.database, f.table, f.key) }

func (f rowLock) Validate(t harness.Topology) error { return t.CheckDatabase(f.database) }

func (f rowLock) Prepare(env *harness.Env) harness.Injection { return &locking{fault: f, env: env} }

type locking struct {
	fault  rowLock
	env    *harness.Env
	holder *pgx.Conn
	pid    uint32
	most   int // the most backends seen waiting at once
}

func (l *locking) Inject(ctx context.Context) error {
	var err error
	if l.holder, err = l.env.Connect(ctx, l.fault.database); err != nil {
		return err
	}
	l.pid = l.holder.PgConn().PID()
	if _, err := l.holder.Exec(ctx, "BEGIN"); err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	query := fmt.Sprintf("SELECT 1 FROM %s WHERE %s = $1 FOR UPDATE",
		pgx.Identifier{l.fault.table}.Sanitize(), pgx.Identifier{l.fault.column}.Sanitize())
	var one int
	if err := l.holder.QueryRow(ctx, query, l.fault.key).Scan(&one); err != nil {
		return fmt.Errorf("lock row %s of %s: %w", l.fault.key, l.fault.table, err)
	}
	return nil
}

// Heal ends the transaction by closing its connection.
func (l *locking) Heal(ctx context.Context) error {
	if l.holder == nil {
		return nil
	}
	return l.holder.Close(ctx)
}

func (l *locking) Evidence() harness.Evidence {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	connection, err := l.env.Connect(ctx, l.fault.database)
	if err != nil {
		return harness.Evidence{Effect: err.Error()}
	}
	defer connection.Close(ctx)
	var waiting int
	if err := connection.QueryRow(ctx, `SELECT count(*) FROM pg_stat_activity WHERE $1 = ANY(pg_blocking_pids(pid))`,
		int32(l.pid)).Scan(&waiting); err != nil {
		return harness.Evidence{Effect: err.Error()}
	}
	l.most = max(l.most, waiting)
	return harness.Evidence{Bit: l.most > 0, Effect: fmt.Sprintf("%d backends waited for backend %d, which held the row", l.most, l.pid)}
}
