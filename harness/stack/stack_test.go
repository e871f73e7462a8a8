package stack

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

func TestMain(m *testing.M) {
	// A program built for the race detector sleeps a second at its end, and each backend has a reaper.
	_ = os.Setenv("GORACE", "atexit_sleep_ms=10")
	Dispatch(testPrograms...)
	goleak.VerifyTestMain(m)
}

var testDatabases = []Database{
	{Name: "orders", Schema: `CREATE TABLE orders(order_id text PRIMARY KEY, status text);`},
	{Name: "stock", Schema: `CREATE TABLE stock(product_id text PRIMARY KEY, available bigint);`},
}

var testTopics = []Topic{{"order-events", 6}, {"stock-events", 6}}

// newBackend returns a backend that is closed at the end of the test.
func newBackend(t testing.TB) *embedded {
	t.Helper()
	b, err := NewEmbedded(t.Context(), EmbeddedConfig{Log: func(line string) { t.Log(line) }})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b.(*embedded)
}

// events records what happens to processes.
type events struct {
	mu   sync.Mutex
	seen []history.Process
}

func (e *events) record(p history.Process) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seen = append(e.seen, p)
}

// of returns the states of one process, an exit with its signal or code: "exited killed".
func (e *events) of(name string) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var states []string
	for _, p := range e.seen {
		if p.Name != name {
			continue
		}
		switch {
		case p.Signal != "":
			states = append(states, p.State+" "+p.Signal)
		case p.State == history.Exited:
			states = append(states, fmt.Sprint(p.State, " ", p.Code))
		default:
			states = append(states, p.State)
		}
	}
	return states
}

func newEnvironment(t testing.TB, b *embedded, change func(*Options)) (*Environment, *events) {
	t.Helper()
	seen := &events{}
	options := Options{Dir: t.TempDir(), Databases: testDatabases, Topics: testTopics, Record: seen.record}
	if change != nil {
		change(&options)
	}
	e, err := b.New(t.Context(), options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close(context.Background())) })
	return e, seen
}

// query runs one statement directly and returns its first column as text.
func query(t testing.TB, e *Environment, database, statement string, args ...any) []string {
	t.Helper()
	config, err := pgx.ParseConfig(e.Postgres(database).DSN(database))
	require.NoError(t, err)
	config.DialFunc = e.ObserverDial
	conn, err := pgx.ConnectConfig(t.Context(), config)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(context.Background())) }()
	rows, err := conn.Query(t.Context(), statement, args...)
	require.NoError(t, err)
	values, err := pgx.CollectRows(rows, pgx.RowTo[any])
	require.NoError(t, err)
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = fmt.Sprint(v)
	}
	return texts
}

func kafkaClient(t testing.TB, e *Environment, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	options = append([]kgo.Opt{kgo.SeedBrokers(e.Brokers()[0].Addr()), kgo.Dialer(e.KafkaDialer())}, options...)
	client, err := kgo.NewClient(options...)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

func waitForPool(t testing.TB, b *embedded) {
	t.Helper()
	require.Eventually(t, func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, p := range b.pools {
			if len(p.ready) < cap(p.ready) {
				return false
			}
		}
		return true
	}, 10*time.Second, time.Millisecond)
}
