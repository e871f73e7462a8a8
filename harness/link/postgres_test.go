//go:build unix

package link_test

import (
	"context"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/link"
	"github.com/ordeal-chaos/ordeal/harness/stack"
	"github.com/ordeal-chaos/ordeal/harness/wire"
)

// postgres starts a server for one test and returns its address.
func postgres(t testing.TB) string {
	t.Helper()
	searching, stop := context.WithTimeout(context.Background(), 2*time.Minute) // it may have to be downloaded
	defer stop()
	found, err := stack.FindPostgres(searching, func(line string) { t.Log(line) })
	require.NoError(t, err)
	bin := found.Bin
	// A short path: it also holds the server's files when the temporary folder is not world-traversable.
	dir, err := os.MkdirTemp("/tmp", "ordeal-link-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	attributes := &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() == 0 { // Postgres refuses to run as root
		nobody, err := user.Lookup("nobody")
		require.NoError(t, err)
		uid, _ := strconv.Atoi(nobody.Uid)
		gid, _ := strconv.Atoi(nobody.Gid)
		attributes.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		require.NoError(t, os.Chown(dir, uid, gid))
	}
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8", "--no-locale")
	initdb.SysProcAttr, initdb.Dir = attributes, dir
	out, err := initdb.CombinedOutput()
	require.NoError(t, err, "%s", out)
	addr := freeAddr(t)
	_, port, _ := splitAddr(addr)
	server := exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-p", port, "-c", "listen_addresses=127.0.0.1",
		"-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "shared_buffers=16MB")
	server.SysProcAttr, server.Dir = attributes, dir
	require.NoError(t, server.Start())
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGQUIT)
		_ = server.Wait()
	})
	require.Eventually(t, func() bool {
		c, err := pgx.Connect(within(t), "postgres://postgres@"+addr+"/postgres?sslmode=disable")
		if err != nil {
			return false
		}
		_, err = c.Exec(within(t), "create table orders (order_id text primary key, qty bigint)")
		_ = c.Close(within(t))
		return err == nil
	}, 15*time.Second, 20*time.Millisecond)
	return addr
}

func connect(t testing.TB, addr string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(within(t), "postgres://postgres@"+addr+"/postgres?sslmode=prefer")
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = c.Close(ctx)
	})
	return c
}

// place writes an order in a transaction and commits it; the error is the commit's.
func place(t testing.TB, c *pgx.Conn, order string) error {
	t.Helper()
	tx, err := c.Begin(within(t))
	require.NoError(t, err)
	_, err = tx.Exec(within(t), "insert into orders values ($1, $2)", order, 3)
	require.NoError(t, err)
	return tx.Commit(within(t))
}

func placed(t testing.TB, c *pgx.Conn, order string) bool {
	t.Helper()
	var n int
	require.NoError(t, c.QueryRow(within(t), "select count(*) from orders where order_id = $1", order).Scan(&n))
	return n == 1
}

func caught(t testing.TB, h *link.Hold) wire.Message {
	t.Helper()
	select {
	case m, ok := <-h.Caught():
		require.True(t, ok, "the hold ended without a message")
		return m
	case <-time.After(10 * time.Second):
		require.Fail(t, "no message was caught within 10s")
		return wire.Message{}
	}
}

func TestPostgres(t *testing.T) {
	addr := postgres(t)
	direct := connect(t, addr)
	start := func(t *testing.T) (*link.Link, *events, *pgx.Conn) {
		recorded := new(events)
		l := open(t, link.Config{Name: "order->postgres", Protocol: wire.Postgres, Upstream: addr, Record: recorded.record})
		return l, recorded, connect(t, l.Addr())
	}

	t.Run("commits are recorded with their transaction's ids", func(t *testing.T) {
		_, recorded, c := start(t)
		require.NoError(t, place(t, c, "order-0001"))
		commits := recorded.where(func(w history.Wire) bool { return w.Kind == "COMMIT" })
		require.Len(t, commits, 2)
		for i, direction := range []string{history.Request, history.Response} {
			assert.Equal(t, direction, commits[i].Direction)
			assert.Equal(t, []string{"order-0001"}, commits[i].Tokens)
			assert.Positive(t, commits[i].Began)
			assert.Empty(t, commits[i].Status)
		}
		assert.True(t, commits[0].Forwarded)
	})

	t.Run("implicit commits and errors", func(t *testing.T) {
		_, recorded, c := start(t)
		_, err := c.Exec(within(t), "insert into orders values ($1, $2)", "order-0002", 1)
		require.NoError(t, err)
		_, err = c.Exec(within(t), "insert into orders values ($1, $2)", "order-0002", 1)
		var failure *pgconn.PgError
		require.ErrorAs(t, err, &failure)
		answers := recorded.where(func(w history.Wire) bool { return w.Direction == history.Response })
		require.Len(t, answers, 2)
		assert.Equal(t, "COMMIT implicit [order-0002]", answers[0].Kind+" "+answers[0].Status+" ["+answers[0].Tokens[0]+"]")
		assert.Equal(t, "Error 23505", answers[1].Kind+" "+answers[1].Status)
	})

	t.Run("a commit that rolls back says so", func(t *testing.T) {
		_, recorded, c := start(t)
		tx, err := c.Begin(within(t))
		require.NoError(t, err)
		_, err = tx.Exec(within(t), "insert into orders values ($1, $2)", "order-0003", 1)
		require.NoError(t, err)
		_, err = tx.Exec(within(t), "select 1/0")
		require.Error(t, err)
		require.ErrorIs(t, tx.Commit(within(t)), pgx.ErrTxCommitRollback)
		answers := recorded.where(func(w history.Wire) bool { return w.Kind == "COMMIT" && w.Direction == history.Response })
		require.Len(t, answers, 1)
		assert.Equal(t, "ROLLBACK", answers[0].Status)
		assert.Equal(t, []string{"order-0003"}, answers[0].Tokens)
	})

	t.Run("a held commit request has not happened", func(t *testing.T) {
		l, recorded, c := start(t)
		h := l.Hold(link.Match{Direction: history.Request, Kind: "COMMIT", Tokens: []string{"order-0004"}})
		require.NoError(t, place(t, c, "another-1"))
		done := make(chan error, 1)
		go func() { done <- place(t, c, "order-0004") }()
		m := caught(t, h)
		assert.Equal(t, []string{"order-0004"}, m.Tokens)
		assert.False(t, placed(t, direct, "order-0004"))
		assert.Empty(t, recorded.where(func(w history.Wire) bool { return w.Forwarded && w.Tokens[0] == "order-0004" }))
		h.Forward()
		h.Forward()
		require.NoError(t, <-done)
		assert.True(t, placed(t, direct, "order-0004"))
		held := recorded.where(func(w history.Wire) bool { return w.Held != "" })
		require.Len(t, held, 2)
		assert.Equal(t, "held forwarded", held[0].Held+" "+held[1].Held)
		assert.Equal(t, h.Conn(), held[0].Conn)
	})

	t.Run("a held commit answer has happened, and its client never learns when it is dropped", func(t *testing.T) {
		l, recorded, c := start(t)
		h := l.Hold(link.Match{Direction: history.Response, Kind: "COMMIT", Tokens: []string{"order-0005"}})
		done := make(chan error, 1)
		go func() { done <- place(t, c, "order-0005") }()
		caught(t, h)
		assert.True(t, placed(t, direct, "order-0005"))
		assert.True(t, h.Reset())
		require.Error(t, <-done)
		h.Drop()
		assert.Empty(t, recorded.where(func(w history.Wire) bool {
			return w.Kind == "COMMIT" && w.Direction == history.Response && w.Held == ""
		}))
		assert.Len(t, recorded.where(func(w history.Wire) bool { return w.Held == "dropped" }), 1)
	})

	for _, forward := range []bool{true, false} {
		t.Run("the client of a held commit dies; forward "+strconv.FormatBool(forward), func(t *testing.T) {
			l, _, c := start(t)
			order := "order-dead-" + strconv.FormatBool(forward)
			h := l.Hold(link.Match{Direction: history.Request, Kind: "COMMIT", Tokens: []string{order}})
			done := make(chan error, 1)
			go func() { done <- place(t, c, order) }()
			caught(t, h)
			require.True(t, h.Reset())
			require.Error(t, <-done)
			assert.False(t, placed(t, direct, order))
			if forward {
				h.Forward()
				require.Eventually(t, func() bool { return placed(t, direct, order) }, 5*time.Second, 5*time.Millisecond)
				return
			}
			h.Drop()
			require.Eventually(t, func() bool { // the server ends the session and its transaction
				var open int
				err := direct.QueryRow(within(t), "select count(*) from pg_stat_activity where state like 'idle in%'").Scan(&open)
				return err == nil && open == 0
			}, 5*time.Second, 5*time.Millisecond)
			assert.False(t, placed(t, direct, order))
		})
	}

	t.Run("round trips and requests in flight are measured", func(t *testing.T) {
		l, _, c := start(t)
		w := l.Watch()
		for range 10 {
			require.NoError(t, c.Ping(within(t)))
		}
		require.Eventually(t, func() bool { return w.Measure().RoundTrips.Count == 10 }, time.Second, time.Millisecond)
		m := w.Measure()
		assert.LessOrEqual(t, m.RoundTrips.Min, m.RoundTrips.P50)
		assert.LessOrEqual(t, m.RoundTrips.P50, m.RoundTrips.Max)
		assert.Zero(t, m.InFlight)
		heal := l.Stall(history.Response)
		done := make(chan error, 1)
		go func() { done <- c.Ping(within(t)) }()
		require.Eventually(t, func() bool { return w.Measure().Oldest > 20*time.Millisecond }, 5*time.Second, time.Millisecond)
		assert.Equal(t, int64(1), w.Measure().InFlight)
		heal()
		require.NoError(t, <-done)
	})

	t.Run("a large result passes", func(t *testing.T) {
		_, _, c := start(t)
		var got string
		require.NoError(t, c.QueryRow(within(t), "select repeat('x', 5000000)").Scan(&got))
		assert.Len(t, got, 5000000)
		rows, err := c.Query(within(t), "select generate_series(1, 200000)")
		require.NoError(t, err)
		numbers, err := pgx.CollectRows(rows, pgx.RowTo[int])
		require.NoError(t, err)
		assert.Len(t, numbers, 200000)
		n, err := c.CopyFrom(within(t), pgx.Identifier{"orders"}, []string{"order_id", "qty"},
			pgx.CopyFromSlice(50000, func(i int) ([]any, error) { return []any{"copy-" + strconv.Itoa(i), i}, nil }))
		require.NoError(t, err)
		assert.Equal(t, int64(50000), n)
	})

	t.Run("toxics and resets", func(t *testing.T) {
		l, _, c := start(t)
		heal, err := l.Toxic(link.Latency{Direction: history.Response, Delay: 50 * time.Millisecond})
		require.NoError(t, err)
		begin := time.Now()
		require.NoError(t, c.Ping(within(t)))
		assert.GreaterOrEqual(t, time.Since(begin), 45*time.Millisecond)
		require.NoError(t, heal(within(t)))
		_, err = l.Toxic(link.LimitData{Direction: history.Response, Bytes: 3})
		require.NoError(t, err)
		require.Error(t, c.Ping(within(t)))
		_, err = pgx.Connect(within(t), "postgres://postgres@"+l.Addr()+"/postgres?sslmode=disable")
		require.Error(t, err)
	})
}
