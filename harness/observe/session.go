package observe

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// prepared checks what a stream needs and would miss only later, and obscurely.
func (w *WAL) prepared(ctx context.Context) error {
	literal := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
	needs := []struct{ what, name, sql string }{
		{"publication", w.config.Publication, "SELECT FROM pg_publication WHERE pubname = "},
		{"replication slot", w.config.Slot, "SELECT FROM pg_replication_slots WHERE database = current_database() AND plugin = 'pgoutput' AND slot_name = "},
	}
	return w.session(ctx, func(conn *pgconn.PgConn) error {
		for _, need := range needs {
			var found bool
			err := query(ctx, conn, need.sql+literal(need.name), func(history.Columns) error { found = true; return nil })
			if err != nil {
				return err
			}
			if !found {
				return fmt.Errorf("no %s %q in database %s", need.what, need.name, w.server.Database)
			}
		}
		return nil
	})
}

// session runs fn on an ordinary connection of its own.
func (w *WAL) session(ctx context.Context, fn func(*pgconn.PgConn) error) error {
	return session(ctx, w.server, fn)
}

func session(ctx context.Context, server *pgconn.Config, fn func(*pgconn.PgConn) error) error {
	conn, err := pgconn.ConnectConfig(ctx, server)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	return fn(conn)
}

func execute(ctx context.Context, conn *pgconn.PgConn, sql string) error {
	if _, err := conn.Exec(ctx, sql).ReadAll(); err != nil {
		return fmt.Errorf("execute %s: %w", sql, err)
	}
	return nil
}

// query calls each with every row, all values in text format: the simple protocol, so that they are
// written exactly as the log writes them (a cast to text is not the same: it trims a char(n)).
func query(ctx context.Context, conn *pgconn.PgConn, sql string, each func(history.Columns) error) (err error) {
	results := conn.Exec(ctx, sql)
	defer func() {
		if closed := results.Close(); err == nil && closed != nil {
			err = fmt.Errorf("query %s: %w", sql, closed)
		}
	}()
	for results.NextResult() {
		result := results.ResultReader()
		for result.NextRow() {
			row := make(history.Columns, len(result.Values()))
			for i, value := range result.Values() {
				if value != nil {
					row[result.FieldDescriptions()[i].Name] = string(value)
				}
			}
			if err := each(row); err != nil {
				return err
			}
		}
	}
	return nil
}
