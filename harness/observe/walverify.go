package observe

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// verifyTries bounds how often a verification starts again because the database was still written to.
const verifyTries = 6

// Verify compares the fold of the recorded rows of every table in schema public with the table itself,
// as multisets of whole rows. It returns a ProbeTable for each (numbers "rows" in the table, "tapped"
// in the fold, "changes" recorded; the first differing row in Detail) and one ProbeTap for the tap. A
// database that is still written to is read again a few times. The error says that the comparison could
// not be made at all.
func (w *WAL) Verify(ctx context.Context) ([]history.Probe, error) {
	retry := backoff{first: 20 * time.Millisecond, most: time.Second}
	for try := 1; ; try++ {
		probes, err := w.compare(ctx)
		if err != nil {
			return nil, fmt.Errorf("verify wal of %s: %w", w.config.Database, err)
		}
		// Once is enough to know that nothing is missing. A difference may only mean that a transaction
		// committed between the reading of the table and the reading of the fold, or that the tap saw a
		// commit before the server showed it to others.
		if probes[len(probes)-1].OK || try == verifyTries {
			return probes, nil
		}
		if !retry.wait(ctx) {
			return nil, fmt.Errorf("verify wal of %s: %w", w.config.Database, ctx.Err())
		}
	}
}

// compare reads every table in one snapshot, waits until the tap is at least there, and compares.
func (w *WAL) compare(ctx context.Context) ([]history.Probe, error) {
	if err := w.CatchUp(ctx); err != nil {
		return nil, err
	}
	before := w.recorded()
	tables, err := w.read(ctx)
	if err != nil {
		return nil, err
	}
	if err := w.CatchUp(ctx); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var wrong []string
	var probes []history.Probe
	for _, name := range slices.Sorted(maps.Keys(union(tables, w.tables))) {
		tapped, ok := w.tables[name]
		if !ok {
			tapped = newFold()
		}
		subject := w.config.Database + "." + name
		probe := history.Probe{
			Name: history.ProbeTable, Subject: subject,
			Numbers: map[string]int64{"tapped": tapped.size(), "changes": tapped.changes},
		}
		if table, ok := tables[name]; ok {
			probe.Numbers["rows"] = table.size()
			probe.Detail = tapped.difference(table)
		} else {
			probe.Detail = "the table is not in schema public (any more)"
		}
		if probe.OK = probe.Detail == ""; !probe.OK {
			wrong = append(wrong, name)
			if w.rows != before {
				probe.Detail += "; the database was written to meanwhile"
			}
		}
		probes = append(probes, probe)
	}
	tap := history.Probe{
		Name: history.ProbeTap, Subject: "wal/" + w.config.Database, OK: len(wrong) == 0,
		Numbers: map[string]int64{
			"commits": w.commits, "rows": w.rows, "reconnects": w.reconnects, "lsn": int64(w.position),
		},
	}
	if !tap.OK {
		tap.Detail = "tables that differ: " + strings.Join(wrong, ", ")
	}
	return append(probes, tap), nil
}

func (w *WAL) recorded() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rows
}

func union(a, b map[string]*fold) map[string]*fold {
	both := maps.Clone(a)
	maps.Copy(both, b)
	return both
}

// The tables that are logged, with the columns that are: a generated column is not.
const tablesSQL = `
SELECT c.relname, a.attname
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
WHERE c.relkind = 'r' AND c.relpersistence = 'p'
ORDER BY 1, a.attnum`

// read returns the content of every table, all in one snapshot.
func (w *WAL) read(ctx context.Context) (map[string]*fold, error) {
	tables := make(map[string]*fold)
	err := w.session(ctx, func(conn *pgconn.PgConn) error {
		if err := execute(ctx, conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"); err != nil {
			return err
		}
		columns := make(map[string][]string)
		err := query(ctx, conn, tablesSQL, func(row history.Columns) error {
			columns[row["relname"]] = append(columns[row["relname"]], quote(row["attname"]))
			return nil
		})
		if err != nil {
			return err
		}
		for name, columns := range columns {
			table := newFold()
			sql := fmt.Sprintf("SELECT %s FROM public.%s", strings.Join(columns, ", "), quote(name))
			err := query(ctx, conn, sql, func(row history.Columns) error { table.add(row, 1); return nil })
			if err != nil {
				return err
			}
			tables[name] = table
		}
		return nil
	})
	return tables, err
}

func quote(identifier string) string {
	return `"` + strings.ReplaceAll(identifier, `"`, `""`) + `"`
}
