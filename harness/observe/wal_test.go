package observe

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/loopback"
)

const (
	itemsSQL = "CREATE TABLE items (id int PRIMARY KEY, name text, qty int); ALTER TABLE items REPLICA IDENTITY FULL"
	notesSQL = "CREATE TABLE notes (n int, what char(4), at timestamptz DEFAULT '2026-01-01 00:00:00.5+02', twice int GENERATED ALWAYS AS (n * 2) STORED); ALTER TABLE notes REPLICA IDENTITY FULL"
	docsSQL  = "CREATE TABLE docs (id int PRIMARY KEY, body text, n int); ALTER TABLE docs ALTER body SET STORAGE EXTERNAL; ALTER TABLE docs REPLICA IDENTITY FULL"
)

func TestWALRecordsEveryCommittedChange(t *testing.T) {
	p, j := startPostgres(t), newJournal(t)
	p.prepare(t, itemsSQL, docsSQL)
	var live []history.Row
	tap, err := TapWAL(t.Context(), WALConfig{
		DSN: p.dsn("shop"), Slot: "ordeal_shop", Publication: "ordeal", Recorder: j.Recorder,
		OnRow: func(row history.Row) { live = append(live, row) },
	})
	require.NoError(t, err)
	defer tap.Close()
	large := strings.Repeat("0123456789abcdef", 4096)
	p.exec(t,
		"INSERT INTO items VALUES (1, NULL, 5), (2, '', 6)",
		"UPDATE items SET qty = 4 WHERE id = 1",
		"BEGIN; INSERT INTO items VALUES (3, 'rolled back', 1); ROLLBACK",
		"DELETE FROM items WHERE id = 2",
		"INSERT INTO docs VALUES (1, '"+large+"', 1)",
		"UPDATE docs SET n = 2",
		"TRUNCATE items",
	)
	require.NoError(t, tap.CatchUp(within(t, patience)))
	require.NoError(t, tap.Close())
	require.NoError(t, tap.Close(), "closing twice is harmless")

	rows := j.rows(t)
	assert.Equal(t, rows, live, "what was called with each row saw the same")
	var lsns []uint64
	for i := range rows {
		assert.NotZero(t, rows[i].Xid)
		assert.NotZero(t, rows[i].LSN)
		lsns = append(lsns, rows[i].LSN)
		rows[i].Xid, rows[i].LSN = 0, 0
	}
	type columns = history.Columns
	assert.Equal(t, []history.Row{
		{Database: "shop", Table: "items", Action: "insert", After: columns{"id": "1", "qty": "5"}},
		{Database: "shop", Table: "items", Action: "insert", After: columns{"id": "2", "name": "", "qty": "6"}},
		{Database: "shop", Table: "items", Action: "update", Before: columns{"id": "1", "qty": "5"}, After: columns{"id": "1", "qty": "4"}},
		{Database: "shop", Table: "items", Action: "delete", Before: columns{"id": "2", "name": "", "qty": "6"}},
		{Database: "shop", Table: "docs", Action: "insert", After: columns{"id": "1", "body": large, "n": "1"}},
		{Database: "shop", Table: "docs", Action: "update", Before: columns{"id": "1", "body": large, "n": "1"}, After: columns{"id": "1", "body": large, "n": "2"}},
		{Database: "shop", Table: "items", Action: "truncate"},
	}, rows)
	assert.IsNonDecreasing(t, lsns)
	assert.Equal(t, lsns[0], lsns[1], "rows of one transaction share its LSN")
	assert.Less(t, lsns[1], lsns[2])
}

func TestWALOrdersByCommit(t *testing.T) {
	p, j := startPostgres(t), newJournal(t)
	p.prepare(t, itemsSQL)
	tap := p.tap(t, j)
	ctx := within(t, patience)
	early, err := p.connect(ctx, "shop")
	require.NoError(t, err)
	defer early.Close(ctx)
	_, err = early.Exec(ctx, "BEGIN; INSERT INTO items VALUES (1, 'begun first', 1)")
	require.NoError(t, err)
	p.exec(t, "INSERT INTO items VALUES (2, 'committed first', 1)")
	require.NoError(t, tap.CatchUp(ctx))
	at := tap.LSN()
	_, err = early.Exec(ctx, "COMMIT")
	require.NoError(t, err)
	require.NoError(t, tap.CatchUp(ctx))
	require.Greater(t, tap.LSN(), at)
	rows := j.rows(t)
	require.Len(t, rows, 2)
	assert.Equal(t, []string{"2", "1"}, []string{rows[0].After["id"], rows[1].After["id"]})
	assert.Greater(t, rows[0].Xid, rows[1].Xid)
}

func byName(probes []history.Probe) map[string]history.Probe {
	named := make(map[string]history.Probe)
	for _, probe := range probes {
		named[probe.Name+" "+probe.Subject] = probe
	}
	return named
}

func TestWALVerify(t *testing.T) {
	p, j := startPostgres(t), newJournal(t)
	p.prepare(t, itemsSQL, notesSQL, docsSQL, "CREATE UNLOGGED TABLE scratch (n int); INSERT INTO scratch VALUES (1)")
	tap := p.tap(t, j)
	p.exec(t,
		"INSERT INTO items VALUES (1, 'a', 1), (2, NULL, 2)", "UPDATE items SET id = 3 WHERE id = 2",
		"INSERT INTO notes VALUES (1, 'x'), (1, 'x'), (2, 'yy')", "DELETE FROM notes WHERE n = 2",
		"ALTER TABLE items ADD COLUMN later float8", "INSERT INTO items VALUES (9, 'after', 9, 0.1::float8 + 0.2::float8)",
	)
	probes, err := tap.Verify(within(t, patience))
	require.NoError(t, err)
	named := byName(probes)
	require.Len(t, named, 4, "%v", probes)
	for name, numbers := range map[string]map[string]int64{
		"table shop.items": {"rows": 3, "tapped": 3, "changes": 4},
		"table shop.notes": {"rows": 2, "tapped": 2, "changes": 4},
		"table shop.docs":  {"rows": 0, "tapped": 0, "changes": 0},
	} {
		assert.True(t, named[name].OK, "%+v", named[name])
		assert.Equal(t, numbers, named[name].Numbers, name)
	}
	assert.True(t, named["tap wal/shop"].OK)
	assert.EqualValues(t, 8, named["tap wal/shop"].Numbers["rows"])

	// A row that the tap missed, among rows that are equal to it.
	tap.mu.Lock()
	tap.tables["notes"].add(history.Columns{"n": "1", "what": "x   ", "at": "2025-12-31 22:00:00.5+00"}, -1)
	tap.mu.Unlock()
	probes, err = tap.Verify(within(t, patience))
	require.NoError(t, err)
	named = byName(probes)
	assert.True(t, named["table shop.items"].OK)
	wrong := named["table shop.notes"]
	assert.False(t, wrong.OK)
	assert.Equal(t, `row {at="2025-12-31 22:00:00.5+00" n="1" what="x   "} is 2 times in the table and 1 times in the fold of the log; 1 rows differ`, wrong.Detail)
	assert.False(t, named["tap wal/shop"].OK)
	assert.Equal(t, "tables that differ: notes", named["tap wal/shop"].Detail)
}

func TestWALVerifyNeedsWholeOldRows(t *testing.T) {
	p, j := startPostgres(t), newJournal(t)
	p.prepare(t, "CREATE TABLE keyed (id int PRIMARY KEY, n int)", itemsSQL)
	tap := p.tap(t, j)
	p.exec(t, "INSERT INTO keyed VALUES (1, 1)", "UPDATE keyed SET n = 2", "INSERT INTO items VALUES (1, 'a', 1)", "DROP TABLE items")
	probes, err := tap.Verify(within(t, patience))
	require.NoError(t, err)
	named := byName(probes)
	assert.False(t, named["table shop.keyed"].OK)
	assert.Contains(t, named["table shop.keyed"].Detail, "REPLICA IDENTITY FULL")
	assert.False(t, named["table shop.items"].OK)
	assert.Contains(t, named["table shop.items"].Detail, "not in schema public")
}

func TestWALVerifyWhileWritesGoOn(t *testing.T) {
	p, j := startPostgres(t), newJournal(t)
	p.prepare(t, itemsSQL)
	tap := p.tap(t, j)
	load := startLoad(t, p, 2, 0)
	awaitRows(t, tap, 10)
	ended := make(chan struct{})
	go func() { // the first reading cannot be right
		defer close(ended)
		awaitRows(t, tap, 500)
		load.finish()
	}()
	probes, err := tap.Verify(within(t, patience))
	require.NoError(t, err)
	assert.True(t, byName(probes)["table shop.items"].OK, "%+v", probes)
	<-ended
}

func TestTapWALNeedsSlotAndPublication(t *testing.T) {
	p, j := startPostgres(t), newJournal(t)
	p.prepare(t, itemsSQL)
	for want, config := range map[string]WALConfig{
		`no publication "none" in database shop`:      {Slot: "ordeal_shop", Publication: "none"},
		`no replication slot "none" in database shop`: {Slot: "none", Publication: "ordeal"},
	} {
		config.DSN, config.Recorder = p.dsn("shop"), j.Recorder
		_, err := TapWAL(within(t, patience), config)
		assert.ErrorContains(t, err, want)
	}
}

func TestWALDialsThroughItsDialer(t *testing.T) {
	p, j := startPostgres(t), newJournal(t)
	p.prepare(t, itemsSQL)
	var dialer loopback.Ports
	tap, err := TapWAL(t.Context(), WALConfig{DSN: p.dsn("shop"), Slot: "ordeal_shop", Publication: "ordeal", Recorder: j.Recorder, Dial: dialer.Dial})
	require.NoError(t, err)
	defer tap.Close()
	conn, err := p.connect(t.Context(), "shop")
	require.NoError(t, err)
	defer conn.Close(t.Context())
	rows, err := conn.Query(t.Context(), "SELECT client_port, pid = pg_backend_pid() FROM pg_stat_activity WHERE client_port IS NOT NULL")
	require.NoError(t, err)
	var streams int
	for rows.Next() {
		var port int
		var own bool
		require.NoError(t, rows.Scan(&port, &own))
		assert.Equal(t, !own, dialer.Owns(port))
		if !own {
			streams++
			assert.Contains(t, dialer.All(), port)
		}
	}
	require.NoError(t, rows.Err())
	assert.Equal(t, 1, streams)
}

// TestWALSurvivesCrashes kills the server three times under load.
func TestWALSurvivesCrashes(t *testing.T) {
	p, j := startPostgres(t), newJournal(t)
	p.prepare(t, itemsSQL)
	tap := p.tap(t, j)
	load := startLoad(t, p, 4, 0)
	for range 3 {
		awaitRows(t, tap, tap.recorded()+2000)
		p.crash(t)
		p.start(t)
	}
	awaitRows(t, tap, tap.recorded()+2000)
	acked := load.finish()
	ctx := within(t, patience)
	probes, err := tap.Verify(ctx)
	require.NoError(t, err)
	named := byName(probes)
	assert.True(t, named["table shop.items"].OK, "%+v", named["table shop.items"])
	require.NoError(t, tap.Close())

	seen := make(map[string]int)
	var last uint64
	for _, row := range j.rows(t) {
		seen[row.After["id"]]++
		require.Greater(t, row.LSN, last, "each row is a commit of its own, in commit order")
		last = row.LSN
	}
	for _, id := range acked {
		require.Equal(t, 1, seen[fmt.Sprint(id)], "row %d was acknowledged", id)
	}
	for id, n := range seen {
		require.Equal(t, 1, n, "row %s", id)
	}
	assert.GreaterOrEqual(t, named["tap wal/shop"].Numbers["reconnects"], int64(3))
	t.Logf("%d commits acknowledged, %d recorded, none twice, over 3 crashes", len(acked), len(seen))
}

// A server that is told to stop waits until its replicas confirm all that it streamed: a tap that does
// not would keep it from ever stopping.
func TestWALLetsTheServerStop(t *testing.T) {
	p, j := startPostgres(t), newJournal(t)
	p.prepare(t, itemsSQL)
	tap := p.tap(t, j)
	p.exec(t, "INSERT INTO items VALUES (1, 'a', 1)", "CREATE TABLE other (n int)", "VACUUM")
	stopped := make(chan struct{})
	go func() { p.stop(syscall.SIGINT); close(stopped) }()
	select {
	case <-stopped:
	case <-time.After(patience):
		t.Fatal("postgres does not stop while it is tapped")
	}
	assert.ErrorContains(t, tap.CatchUp(within(t, time.Second)), "write marker to shop")
	p.start(t)
	p.exec(t, "INSERT INTO items VALUES (2, 'b', 1)")
	require.NoError(t, tap.CatchUp(within(t, patience)))
	assert.Len(t, j.rows(t), 2)
}

func TestWALOfAPausedServer(t *testing.T) {
	p, j := startPostgres(t), newJournal(t)
	p.prepare(t, itemsSQL)
	tap := p.tap(t, j)
	require.NoError(t, syscall.Kill(p.server.Process.Pid, syscall.SIGSTOP))
	err := tap.CatchUp(within(t, 300*time.Millisecond))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, syscall.Kill(p.server.Process.Pid, syscall.SIGCONT))
	p.exec(t, "INSERT INTO items VALUES (1, 'a', 1)")
	require.NoError(t, tap.CatchUp(within(t, patience)))
	assert.Len(t, j.rows(t), 1)
}
