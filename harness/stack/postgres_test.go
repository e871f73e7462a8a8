package stack

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func insertOrder(t *testing.T, e *Environment, id string) {
	t.Helper()
	query(t, e, "orders", `INSERT INTO orders VALUES ($1, 'PENDING') RETURNING order_id`, id)
}

func TestPostgresKeepsCommittedRowsAndSlotsOverACrash(t *testing.T) {
	e, seen := newEnvironment(t, newBackend(t), nil)
	pg := e.Postgres("orders")
	addr := pg.Addr()
	insertOrder(t, e, "o-1")
	slots := query(t, e, "orders", `SELECT slot_name::text FROM pg_replication_slots WHERE slot_type = 'logical' AND plugin = 'pgoutput' AND NOT temporary ORDER BY 1`)
	assert.Equal(t, []string{"ordeal_orders", "ordeal_stock"}, slots, "slots survive the copy")

	tree, err := tree(pg.PID())
	require.NoError(t, err)
	require.Greater(t, len(tree), 3, "postmaster and background processes")
	require.NoError(t, pg.Kill(t.Context()))
	for _, p := range tree {
		assert.False(t, lives(p.pid), "process %d of the tree", p.pid)
	}
	_, err = net.DialTimeout("tcp", addr, time.Second)
	assert.ErrorIs(t, err, syscall.ECONNREFUSED)
	_, err = os.Stat(filepath.Join(pg.Node.(*Process).task.data, "postmaster.pid"))
	assert.ErrorIs(t, err, os.ErrNotExist, "shared memory is swept")

	began := time.Now()
	require.NoError(t, pg.Start(t.Context()))
	t.Logf("ready %s after a crash", time.Since(began).Round(time.Millisecond))
	assert.Equal(t, addr, pg.Addr())
	assert.Equal(t, []string{"o-1"}, query(t, e, "orders", `SELECT order_id FROM orders`))
	assert.Equal(t, slots, query(t, e, "orders", `SELECT slot_name::text FROM pg_replication_slots ORDER BY 1`))
	changes := query(t, e, "orders", `SELECT count(*) FROM pg_logical_slot_peek_binary_changes('ordeal_orders', NULL, NULL, 'proto_version', '1', 'publication_names', 'ordeal')`)
	assert.NotEqual(t, []string{"0"}, changes, "the slot still has the insert")
	assert.Equal(t, []string{"started", "ready", "exited killed", "started", "ready"}, seen.of("postgres"))

	require.NoError(t, pg.Terminate(t.Context()))
	require.NoError(t, pg.Start(t.Context()))
	assert.Equal(t, []string{"o-1"}, query(t, e, "orders", `SELECT order_id FROM orders`))
	assert.Equal(t, "exited 0", seen.of("postgres")[5])
	assert.Empty(t, e.UnexpectedExits())
}

// A backend that is in the middle of work when the server is killed must not outlive it: it could still
// commit, and it would block the restart.
func TestKillReachesBusyBackends(t *testing.T) {
	e, _ := newEnvironment(t, newBackend(t), func(o *Options) { o.Topics = nil })
	pg := e.Postgres("orders")
	for range 3 {
		conn, err := pgx.Connect(t.Context(), pg.DSN("orders"))
		require.NoError(t, err)
		var backend int
		require.NoError(t, conn.QueryRow(t.Context(), `SELECT pg_backend_pid()`).Scan(&backend))
		answer := make(chan error, 1)
		go func() {
			_, err := conn.Exec(context.Background(), `INSERT INTO orders SELECT 'late', 'x' FROM pg_sleep(1)`)
			answer <- err
		}()
		require.NoError(t, pg.Kill(t.Context()))
		assert.False(t, lives(backend))
		assert.Error(t, <-answer)
		require.NoError(t, conn.Close(context.Background()))
		require.NoError(t, pg.Start(t.Context()))
	}
	assert.Equal(t, []string{"0"}, query(t, e, "orders", `SELECT count(*) FROM orders`))
}

func TestPauseReachesBackendsAndResumeLosesNothing(t *testing.T) {
	e, _ := newEnvironment(t, newBackend(t), func(o *Options) { o.Topics = nil })
	pg := e.Postgres("orders")
	conn, err := pgx.Connect(t.Context(), pg.DSN("orders"))
	require.NoError(t, err)
	defer conn.Close(context.Background())
	require.NoError(t, pg.Pause(t.Context()))
	answer := make(chan error, 1)
	go func() {
		_, err := conn.Exec(context.Background(), `INSERT INTO orders VALUES ('o-1', 'x')`)
		answer <- err
	}()
	select {
	case err := <-answer:
		assert.Fail(t, "a paused server answered", "%v", err)
	case <-time.After(200 * time.Millisecond):
	}
	require.NoError(t, pg.Resume(t.Context()))
	assert.NoError(t, <-answer)
	assert.Equal(t, []string{"o-1"}, query(t, e, "orders", `SELECT order_id FROM orders`))
}

func TestEveryTableShowsWholeOldRows(t *testing.T) {
	e, _ := newEnvironment(t, newBackend(t), func(o *Options) { o.Topics = nil })
	for _, made := range []string{`CREATE TABLE later(id int)`, `CREATE SCHEMA "odd Name"`, `CREATE TABLE "odd Name"."T a"(id int)`, `CREATE TABLE copied AS SELECT 1 AS id`} {
		query(t, e, "orders", made)
	}
	identity := `SELECT relname || ' ' || relreplident::text FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
		WHERE relkind = 'r' AND nspname IN ('public', 'odd Name') ORDER BY 1`
	assert.ElementsMatch(t, []string{"T a f", "copied f", "later f", "orders f"}, query(t, e, "orders", identity))
	assert.Equal(t, []string{"true"}, query(t, e, "orders", `SELECT puballtables FROM pg_publication WHERE pubname = 'ordeal'`))
}

func TestDefaultIdentityIsWhatTablesHaveWithoutAnObserver(t *testing.T) {
	e, _ := newEnvironment(t, newBackend(t), func(o *Options) {
		o.Topics, o.Databases = nil, []Database{{Name: "orders", Schema: testDatabases[0].Schema, DefaultIdentity: true}}
	})
	for _, made := range []string{`CREATE TABLE later(id int PRIMARY KEY)`, `CREATE TABLE keyless(id int)`, `INSERT INTO keyless VALUES (1)`, `UPDATE keyless SET id = 2`} {
		query(t, e, "orders", made)
	}
	identity := `SELECT relname || ' ' || relreplident::text FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
		WHERE relkind = 'r' AND nspname = 'public' ORDER BY 1`
	assert.ElementsMatch(t, []string{"keyless f", "later d", "orders d"}, query(t, e, "orders", identity))
}

func TestPeersAreAllClientsAndNobodyElse(t *testing.T) {
	e, _ := newEnvironment(t, newBackend(t), func(o *Options) { o.Topics = nil })
	pg := e.Postgres("orders")
	unknown := func() []int {
		peers, err := pg.Peers()
		require.NoError(t, err)
		require.NotEmpty(t, peers)
		return slices.DeleteFunc(peers, e.Observers().Owns)
	}
	insertOrder(t, e, "o-1")
	assert.Empty(t, unknown(), "the stack's own probes are known")

	var stranger []int
	for range 2 {
		conn, err := pgx.Connect(t.Context(), pg.DSN("orders"))
		require.NoError(t, err)
		stranger = append(stranger, conn.PgConn().Conn().LocalAddr().(*net.TCPAddr).Port)
		require.NoError(t, conn.Close(t.Context()))
		require.NoError(t, pg.Kill(t.Context()))
		require.NoError(t, pg.Start(t.Context()))
	}
	assert.Equal(t, stranger, unknown(), "over all starts")
}

func TestSeparatePostgresCrashesAlone(t *testing.T) {
	e, seen := newEnvironment(t, newBackend(t), func(o *Options) { o.SeparatePostgres, o.Topics = true, nil })
	orders, stock := e.Postgres("orders"), e.Postgres("stock")
	assert.NotEqual(t, orders.Addr(), stock.Addr())
	assert.Nil(t, e.Postgres("payment"))
	require.NoError(t, orders.Kill(t.Context()))
	assert.True(t, stock.Alive())
	assert.Equal(t, []string{"0"}, query(t, e, "stock", `SELECT count(*) FROM stock`))
	assert.Equal(t, []string{"started", "ready", "exited killed"}, seen.of("postgres-orders"))
	assert.Equal(t, []string{"started", "ready"}, seen.of("postgres-stock"))
	databases := query(t, e, "stock", `SELECT datname::text FROM pg_database ORDER BY 1`)
	assert.Equal(t, []string{"postgres", "stock", "template1"}, databases)
}

func TestNewSaysWhatIsWrongWithASchema(t *testing.T) {
	b := newBackend(t)
	_, err := b.New(t.Context(), Options{Dir: t.TempDir(), Databases: []Database{{Name: "orders", Schema: `CREATE TABEL x()`}}})
	assert.ErrorContains(t, err, "create database orders: apply schema")
	assert.ErrorContains(t, err, "TABEL")
	left, globErr := filepath.Glob(filepath.Join(b.cache, "*.part"))
	require.NoError(t, globErr)
	assert.Empty(t, left)
}

func TestAFreshEnvironmentSeesNothingOfTheOneBefore(t *testing.T) {
	b := newBackend(t)
	first, _ := newEnvironment(t, b, func(o *Options) { o.Topics = nil })
	insertOrder(t, first, "o-1")
	second, _ := newEnvironment(t, b, func(o *Options) { o.Topics = nil })
	assert.Equal(t, []string{"0"}, query(t, second, "orders", `SELECT count(*) FROM orders`))
	assert.NotEqual(t, first.Postgres("orders").Addr(), second.Postgres("orders").Addr())
}

func TestSlotNames(t *testing.T) {
	assert.Equal(t, "ordeal_orders", SlotName("orders"))
	assert.Equal(t, "ordeal_order_service_2", SlotName("Order-Service.2"))
}

func TestSegmentOf(t *testing.T) {
	file := strings.Join([]string{"1", "/data", "1700000000", "5432", "", "127.0.0.1", "4294967295        17", "ready"}, "\n")
	key, id, ok := segmentOf(file)
	assert.True(t, ok)
	assert.Equal(t, -1, key, "the kernel's key is signed, the file's is not")
	assert.Equal(t, 17, id)
	_, _, ok = segmentOf("1\n/data\n")
	assert.False(t, ok, "a server that died before it had a segment")
}
