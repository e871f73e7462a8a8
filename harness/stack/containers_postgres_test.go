package stack

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

// postgresOnContainers is what the containers backend needs for Postgres alone, on a network of its own.
type postgresOnContainers struct {
	*containers
	on *network
}

func newPostgresOnContainers(t testing.TB) postgresOnContainers {
	t.Helper()
	b := postgresOnContainers{containers: &containers{base: base{log: func(line string) { t.Log(line) }}}}
	require.NoError(t, b.base.init("", nil))
	t.Cleanup(func() { require.NoError(t, b.release()) }) // after the session
	b.engine, b.images = newEngine(t)
	require.NoError(t, b.engine.guardedBy(b.reaper))
	var err error
	b.on, err = b.engine.network(t.Context(), "clients", false)
	require.NoError(t, err)
	return b
}

// started starts the Postgres servers of the test databases, and nothing else.
func (b postgresOnContainers) started(t testing.TB, options Options) (*Environment, *events) {
	t.Helper()
	seen := &events{}
	options.Dir, options.Databases, options.Record = t.TempDir(), testDatabases, seen.record
	e, err := b.environment(options)
	require.NoError(t, err)
	e, err = e.made(t.Context(), b.addPostgres(t.Context(), e, b.on, options))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close(context.Background())) })
	return e, seen
}

func TestContainerPostgresKeepsCommittedRowsAndSlotsOverACrash(t *testing.T) {
	e, seen := newPostgresOnContainers(t).started(t, Options{})
	pg := e.Postgres("orders")
	addr := pg.Addr()
	insertOrder(t, e, "o-1")
	slots := query(t, e, "orders", `SELECT slot_name::text FROM pg_replication_slots WHERE slot_type = 'logical' AND plugin = 'pgoutput' AND NOT temporary ORDER BY 1`)
	assert.Equal(t, []string{"ordeal_orders", "ordeal_stock"}, slots, "slots survive the commit of the image")

	require.NoError(t, pg.Kill(t.Context()))
	assert.False(t, pg.Alive())
	_, err := net.DialTimeout("tcp", addr, 500*time.Millisecond)
	assert.Error(t, err)

	began := time.Now()
	require.NoError(t, pg.Start(t.Context()))
	t.Logf("ready %s after a crash", time.Since(began).Round(time.Millisecond))
	assert.Equal(t, addr, pg.Addr())
	assert.Equal(t, []string{"o-1"}, query(t, e, "orders", `SELECT order_id FROM orders`))
	changes := query(t, e, "orders", `SELECT count(*) FROM pg_logical_slot_peek_binary_changes('ordeal_orders', NULL, NULL, 'proto_version', '1', 'publication_names', 'ordeal')`)
	assert.NotEqual(t, []string{"0"}, changes, "the slot still has the insert")
	assert.Equal(t, []string{"started", "ready", "exited killed", "started", "ready"}, seen.of("postgres"))

	require.NoError(t, pg.Terminate(t.Context()))
	assert.Equal(t, "exited 0", seen.of("postgres")[5])
	require.NoError(t, pg.Start(t.Context()))
	assert.Equal(t, []string{"o-1"}, query(t, e, "orders", `SELECT order_id FROM orders`))
	assert.Empty(t, e.UnexpectedExits())
	assert.NotEmpty(t, pg.LastLog(5))
}

func TestContainerPostgresIsWhatTheEmbeddedOneIs(t *testing.T) {
	e, _ := newPostgresOnContainers(t).started(t, Options{})
	settings := `SELECT name || '=' || setting FROM pg_settings WHERE name IN
		('wal_level', 'fsync', 'autovacuum', 'max_connections', 'wal_segment_size', 'synchronous_commit', 'log_connections', 'server_encoding', 'TimeZone') ORDER BY 1`
	inContainer := query(t, e, "orders", settings)
	embedded, _ := newEnvironment(t, newBackend(t), func(o *Options) { o.Topics = nil })
	assert.Equal(t, query(t, embedded, "orders", settings), inContainer)
	query(t, e, "orders", `CREATE TABLE later(id int)`)
	identity := `SELECT relname || ' ' || relreplident::text FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
		WHERE relkind = 'r' AND nspname = 'public' ORDER BY 1`
	assert.Equal(t, []string{"later f", "orders f"}, query(t, e, "orders", identity))
	assert.Equal(t, []string{"C"}, query(t, e, "orders", `SELECT datcollate FROM pg_database WHERE datname = 'orders'`))
}

func TestContainerPostgresPausesAndLosesNothing(t *testing.T) {
	e, seen := newPostgresOnContainers(t).started(t, Options{})
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
	case <-time.After(300 * time.Millisecond):
	}
	require.NoError(t, pg.Resume(t.Context()))
	assert.NoError(t, <-answer)
	assert.Equal(t, []string{"o-1"}, query(t, e, "orders", `SELECT order_id FROM orders`))
	assert.Equal(t, []string{"started", "ready", "paused", "resumed"}, seen.of("postgres"))
	require.NoError(t, pg.Pause(t.Context()))
	assert.NoError(t, e.Close(t.Context()), "a paused server can be removed")
}

func TestContainerPeersAreAllClientsAndNobodyElse(t *testing.T) {
	b := newPostgresOnContainers(t)
	if !b.engine.direct {
		t.Skip("the engine's proxy hides the ports of clients")
	}
	e, _ := b.started(t, Options{})
	pg := e.Postgres("orders")
	require.True(t, pg.PeersExact())
	unknown := func() []int {
		peers, err := pg.Peers()
		require.NoError(t, err)
		require.NotEmpty(t, peers)
		return slices.DeleteFunc(peers, e.Observers().Owns)
	}
	insertOrder(t, e, "o-1")
	assert.Empty(t, unknown(), "the stack's own probes and marks are known")

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
	strangers, err := pg.Strangers()
	require.NoError(t, err)
	assert.Empty(t, strangers)

	// A connection from another container of the network.
	neighbour := b.engine.container(containerSpec{
		name: "neighbour", event: "neighbour", image: b.images.postgres.id,
		entrypoint: []string{"psql", "-h", pg.Node.(*container).host().String(), "-U", Superuser, "-c", "SELECT 1"},
		at:         []attachment{{network: b.on, address: b.on.address(40)}},
	})
	defer func() { require.NoError(t, neighbour.remove(context.Background())) }()
	require.NoError(t, neighbour.Start(t.Context()))
	require.Eventually(t, func() bool { return !neighbour.Alive() }, 10*time.Second, 10*time.Millisecond)
	strangers, err = pg.Strangers()
	require.NoError(t, err)
	assert.Equal(t, []string{b.on.address(40).String()}, strangers)

	require.NoError(t, pg.Kill(t.Context()))
	assert.Equal(t, stranger, unknown(), "of a dead server too")
}

// The log is behind the server; who asks for the peers right after a connection must see it all the same.
func TestContainerPeersAreComplete(t *testing.T) {
	b := newPostgresOnContainers(t)
	if !b.engine.direct {
		t.Skip("the engine's proxy hides the ports of clients")
	}
	e, _ := b.started(t, Options{})
	pg := e.Postgres("orders")
	for range 10 {
		conn, err := net.Dial("tcp", pg.Addr())
		require.NoError(t, err)
		peers, err := pg.Peers()
		require.NoError(t, err)
		assert.Contains(t, peers, conn.LocalAddr().(*net.TCPAddr).Port)
		require.NoError(t, conn.Close())
	}
}

// An engine in a virtual machine or elsewhere is reached through published ports.
func TestContainerPostgresBehindPublishedPort(t *testing.T) {
	b := newPostgresOnContainers(t)
	b.engine.direct = false
	e, _ := b.started(t, Options{})
	pg := e.Postgres("orders")
	addr := pg.Addr()
	host, _, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	assert.Equal(t, b.engine.bind.String(), host)
	assert.False(t, pg.PeersExact())
	insertOrder(t, e, "o-1")
	require.NoError(t, pg.Kill(t.Context()))
	require.NoError(t, pg.Start(t.Context()))
	assert.Equal(t, addr, pg.Addr())
	assert.Equal(t, []string{"o-1"}, query(t, e, "orders", `SELECT order_id FROM orders`))
	peers, err := pg.Peers()
	require.NoError(t, err)
	assert.GreaterOrEqual(t, len(peers), 4, "readiness twice, a statement twice")
	assert.LessOrEqual(t, len(peers), e.Observers().Dials(addr))
	strangers, err := pg.Strangers()
	require.NoError(t, err)
	assert.Empty(t, strangers)
}

func TestContainerPeersOfPublishedPort(t *testing.T) {
	on := &network{subnet: netip.MustParsePrefix("172.30.0.0/16"), gateway: netip.MustParseAddr("172.30.0.1")}
	for host, strange := range map[string][2]bool{ // reached directly, through a published port
		"172.30.0.1": {false, false}, "172.30.0.40": {true, true}, "127.0.0.1": {true, true}, "192.0.2.7": {true, false}, "???": {true, true},
	} {
		for i, published := range []bool{false, true} {
			var found peers
			found.add(on, published, host, "4000")
			assert.Equal(t, strange[i], len(found.strangers) == 1, "%s %t", host, published)
			assert.Equal(t, !strange[i], len(found.ports) == 1, "%s %t", host, published)
		}
	}
}

func TestSeparateContainerPostgresCrashesAlone(t *testing.T) {
	e, seen := newPostgresOnContainers(t).started(t, Options{SeparatePostgres: true})
	orders, stock := e.Postgres("orders"), e.Postgres("stock")
	assert.NotEqual(t, orders.Addr(), stock.Addr())
	require.NoError(t, orders.Kill(t.Context()))
	assert.True(t, stock.Alive())
	assert.Equal(t, []string{"0"}, query(t, e, "stock", `SELECT count(*) FROM stock`))
	assert.Equal(t, []string{"started", "ready", "exited killed"}, seen.of("postgres-orders"))
	assert.Equal(t, []string{"started", "ready"}, seen.of("postgres-stock"))
	assert.Equal(t, []string{"postgres", "stock", "template1"}, query(t, e, "stock", `SELECT datname::text FROM pg_database ORDER BY 1`))
}

// Harnesses that need the same image at once make it once, and it outlives them without their labels.
func TestPreparedImageIsMadeOnce(t *testing.T) {
	b := newPostgresOnContainers(t)
	databases := []Database{{Name: "orders", Schema: `CREATE TABLE once(id int, made text DEFAULT '` + t.TempDir() + `');`}}
	var prepared []string
	b.log = func(line string) { prepared = append(prepared, line) } // under the lock
	name := preparedRepository + ":" + b.fingerprint(databases)
	remove := func() { _, _ = b.engine.client.ImageRemove(context.Background(), name, client.ImageRemoveOptions{}) }
	defer remove()
	var group errgroup.Group
	for range 3 {
		group.Go(func() error {
			made, err := b.preparedImage(t.Context(), b.on, databases)
			assert.Equal(t, name, made)
			return err
		})
	}
	require.NoError(t, group.Wait())
	assert.Len(t, prepared, 1, "%s", prepared)
	seen, err := b.engine.client.ImageInspect(t.Context(), name)
	require.NoError(t, err)
	assert.Equal(t, b.fingerprint(databases), seen.Config.Labels[preparedLabel])
	for label := range b.engine.labelled() {
		assert.Empty(t, seen.Config.Labels[label], label)
	}

	used := filepath.Join(b.engine.cache, "prepared-image-"+b.fingerprint(databases))
	require.FileExists(t, used)
	b.forgetUnusedImages(t.Context())
	there, err := b.hasImage(t.Context(), name)
	require.NoError(t, err)
	assert.True(t, there, "it is in use")
	long := time.Now().Add(-preparedUnused - time.Hour)
	require.NoError(t, os.Chtimes(used, long, long))
	b.forgetUnusedImages(t.Context())
	there, err = b.hasImage(t.Context(), name)
	require.NoError(t, err)
	assert.False(t, there, "nobody used it for long")
	assert.NoFileExists(t, used)
}

func TestContainerSchemaErrorIsToldAndLeavesNothing(t *testing.T) {
	b := newPostgresOnContainers(t)
	databases := []Database{{Name: "orders", Schema: `CREATE TABEL x()`}}
	_, err := b.preparedImage(t.Context(), b.on, databases)
	assert.ErrorContains(t, err, "create database orders: apply schema")
	assert.ErrorContains(t, err, "TABEL")
	there, err := b.hasImage(t.Context(), preparedRepository+":"+b.fingerprint(databases))
	require.NoError(t, err)
	assert.False(t, there)
	assert.Equal(t, []string{b.on.name}, leftOf(t, b.engine.client, b.engine.id))
}

func TestFreshContainerPostgresIsFast(t *testing.T) {
	b := newPostgresOnContainers(t)
	e, _ := b.started(t, Options{}) // prepares, where the engine has not yet
	require.NoError(t, e.Close(t.Context()))
	best := time.Hour
	for range 5 {
		options := Options{Dir: t.TempDir(), Databases: testDatabases}
		began := time.Now()
		e, err := b.environment(options)
		require.NoError(t, err)
		e, err = e.made(t.Context(), b.addPostgres(t.Context(), e, b.on, options))
		require.NoError(t, err)
		best = min(best, time.Since(began))
		require.NoError(t, e.Close(t.Context()))
	}
	t.Logf("fresh Postgres ready in %s at best of 5", best.Round(time.Millisecond))
	assert.Less(t, best, 5*time.Second)
}
