package faults

import (
	"context"
	"fmt"
	"strings"
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

func (f rowLock) Prepare(env *harness.Env) harness.Injection {
	return &locking{
		fault: f, env: env, database: f.database, what: "the row",
		query: fmt.Sprintf("SELECT 1 FROM %s WHERE %s = %s FOR UPDATE",
			pgx.Identifier{f.table}.Sanitize(), pgx.Identifier{f.column}.Sanitize(), literal(f.key)),
		rows: 1,
	}
}

// literal is a string as it stands in SQL.
func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// locking holds what one statement locked.
type locking struct {
	fault    harness.Fault
	env      *harness.Env
	database string
	query    string // takes the lock
	rows     int64  // that it must return
	what     string // is locked, in words
	holder   *pgx.Conn
	pid      uint32
	most     int // the most backends seen waiting at once
}

func (l *locking) Inject(ctx context.Context) error {
	var err error
	if l.holder, err = l.env.Connect(ctx, l.database); err != nil {
		return err
	}
	l.pid = l.holder.PgConn().PID()
	if _, err := l.holder.Exec(ctx, "BEGIN"); err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	tag, err := l.holder.Exec(ctx, l.query)
	if err != nil {
		return fmt.Errorf("lock %s: %w", l.fault.Target(), err)
	}
	if tag.RowsAffected() != l.rows {
		return fmt.Errorf("lock %s: it is not there", l.fault.Target())
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
	connection, err := l.env.Connect(ctx, l.database)
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
	return harness.Evidence{Bit: l.most > 0, Effect: fmt.Sprintf("%d backends waited for backend %d, which held %s", l.most, l.pid, l.what)}
}
