package faults

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
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
	most     atomic.Int64 // the most backends seen waiting at once
	watch    func() error // ends the watch; nil when there is none
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
	return l.startWatch(ctx)
}

// lookEvery is how often the watch looks: waits end after a service's lock timeout, and a single look could miss all.
const lookEvery = 20 * time.Millisecond

// startWatch looks for backends that wait for the holder, until the watch is ended.
func (l *locking) startWatch(ctx context.Context) error {
	connection, err := l.env.Connect(ctx, l.database)
	if err != nil {
		return err
	}
	looking, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() {
		err := l.look(looking, connection)
		ended <- errors.Join(err, connection.Close(context.WithoutCancel(ctx)))
	}()
	l.watch = sync.OnceValue(func() error {
		stop()
		return <-ended
	})
	return nil
}

func (l *locking) look(ctx context.Context, connection *pgx.Conn) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		var waiting int64
		err := connection.QueryRow(ctx, `SELECT count(*) FROM pg_stat_activity WHERE $1 = ANY(pg_blocking_pids(pid))`, int32(l.pid)).Scan(&waiting)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("look for who waits: %w", err)
		}
		l.most.Store(max(l.most.Load(), waiting))
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// Heal ends the transaction by closing its connection, and the watch.
func (l *locking) Heal(ctx context.Context) error {
	if l.watch != nil {
		_ = l.watch() // what it saw is evidence, however it ended
	}
	if l.holder == nil {
		return nil
	}
	return l.holder.Close(ctx)
}

func (l *locking) Evidence() harness.Evidence {
	most := l.most.Load()
	return harness.Evidence{Bit: most > 0, Effect: fmt.Sprintf("%d backends waited for backend %d, which held %s", most, l.pid, l.what)}
}
