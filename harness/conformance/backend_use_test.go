package conformance_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/link"
	"github.com/ordeal-chaos/ordeal/harness/stack"
	"github.com/ordeal-chaos/ordeal/harness/wire"
)

// What environments consist of, unless a check wants something else.
var (
	databases = []stack.Database{{Name: "shop", Schema: `CREATE TABLE items (id bigint PRIMARY KEY, name text); ALTER TABLE items REPLICA IDENTITY FULL`}}
	topics    = []stack.Topic{{Name: "orders", Partitions: 6}, {Name: "stock", Partitions: 1}}
)

// used is an environment in use.
type used struct {
	*stack.Environment
	dir string

	mu   sync.Mutex
	seen []history.Process
}

// start returns an environment that is closed at the end of the test.
func (s *suite) start(t *testing.T, brokers int) *used {
	t.Helper()
	return s.startWith(t, stack.Options{Databases: databases, Topics: topics, Brokers: brokers})
}

func (s *suite) startWith(t *testing.T, options stack.Options) *used {
	t.Helper()
	u := &used{dir: t.TempDir()}
	options.Dir = u.dir
	options.Record = func(p history.Process) {
		s.note(p)
		u.mu.Lock()
		defer u.mu.Unlock()
		u.seen = append(u.seen, p)
	}
	var err error
	u.Environment, err = s.New(within(t, 2*time.Minute), options)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, u.Close(context.Background())) })
	return u
}

var noted sync.Mutex

func (s *suite) note(p history.Process) {
	noted.Lock()
	defer noted.Unlock()
	s.pids[p.PID] = p.Name
}

// lived tells the life of a process: "started", "exited killed", "exited 3 unasked".
func (u *used) lived(name string) []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	var states []string
	for _, p := range u.seen {
		if p.Name != name {
			continue
		}
		state := p.State
		switch {
		case p.Signal != "":
			state += " " + p.Signal
		case p.State == history.Exited:
			state += fmt.Sprint(" ", p.Code)
		}
		if p.Unasked {
			state += " unasked"
		}
		states = append(states, state)
	}
	return states
}

// postgres is the server of the database of most checks.
func (u *used) postgres() *stack.Postgres { return u.Postgres("shop") }

func (u *used) connect(t *testing.T) *pgx.Conn {
	t.Helper()
	config, err := pgx.ParseConfig(u.postgres().DSN("shop"))
	require.NoError(t, err)
	config.DialFunc = u.ObserverDial
	conn, err := pgx.ConnectConfig(within(t, 10*time.Second), config)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func insert(t *testing.T, conn *pgx.Conn, id int) {
	t.Helper()
	_, err := conn.Exec(within(t, 10*time.Second), "INSERT INTO items VALUES ($1, 'x')", id)
	require.NoError(t, err)
}

// query returns the only column of what a statement returns.
func query[T any](t *testing.T, conn *pgx.Conn, statement string, args ...any) []T {
	t.Helper()
	rows, err := conn.Query(within(t, 10*time.Second), statement, args...)
	require.NoError(t, err)
	values, err := pgx.CollectRows(rows, pgx.RowTo[T])
	require.NoError(t, err)
	return values
}

// items are the ids of all committed rows.
func (u *used) items(t *testing.T) []int {
	t.Helper()
	return query[int](t, u.connect(t), "SELECT id FROM items ORDER BY id")
}

func (u *used) seeds() (addresses []string) {
	for _, broker := range u.Brokers() {
		addresses = append(addresses, broker.Addr())
	}
	return addresses
}

// kafka returns a client that connects past all links and waits for nothing longer than it must.
func (u *used) kafka(t *testing.T, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(u.seeds()...), kgo.Dialer(u.KafkaDialer()), kgo.DisableClientMetrics(),
		kgo.MetadataMinAge(50 * time.Millisecond), kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }),
		kgo.RecordRetries(10000), kgo.RequestRetries(10000), kgo.RetryTimeout(40 * time.Second),
	}, options...)...)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

// publish returns when all in-sync replicas have the records.
func publish(t *testing.T, client *kgo.Client, topic string, values ...string) {
	t.Helper()
	var records []*kgo.Record
	for _, value := range values {
		records = append(records, &kgo.Record{Topic: topic, Key: []byte(value), Value: []byte(value)})
	}
	require.NoError(t, client.ProduceSync(within(t, 40*time.Second), records...).FirstErr())
}

// published are the values of all records of a topic, of which none belongs to a transaction.
func (u *used) published(t *testing.T, topic string) (values []string) {
	t.Helper()
	for _, r := range u.log(t, topic) {
		values = append(values, r.Value)
	}
	slices.Sort(values)
	return values
}

func (u *used) log(t *testing.T, topic string) (records []record) {
	t.Helper()
	client := u.kafka(t, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer client.Close()
	ctx := within(t, 40*time.Second)
	var left int64
	for _, end := range u.ends(t, client, topic) {
		left += end
	}
	for int64(len(records)) < left {
		fetches := client.PollFetches(ctx)
		require.NoError(t, fetches.Err0())
		fetches.EachRecord(func(r *kgo.Record) { records = append(records, fromFranzGo(r)) })
	}
	return records
}

// ends are the end offsets of a topic, by partition.
func (u *used) ends(t *testing.T, client *kgo.Client, topic string) map[int32]int64 {
	t.Helper()
	ends := map[int32]int64{}
	require.EventuallyWithT(t, func(t *assert.CollectT) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		listed, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
		require.NoError(t, err)
		require.NoError(t, listed.Error())
		listed.Each(func(o kadm.ListedOffset) { ends[o.Partition] = o.Offset })
	}, 30*time.Second, 20*time.Millisecond)
	return ends
}

// server is a server of an environment, and how to talk to it past its login.
type server struct {
	stack.Node
	name     string
	addr     string
	protocol wire.Protocol
	question []byte // which it answers at once
}

// sslRequest asks Postgres for encryption, which it declines with one byte.
var sslRequest = []byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f}

func (u *used) servers() []server {
	versions := kmsg.NewRequestFormatter(kmsg.FormatterClientID("ask")).AppendRequest(nil, kmsg.NewPtrApiVersionsRequest(), 1)
	var all []server
	for _, pg := range u.PostgresServers() {
		all = append(all, server{pg, pg.Name(), pg.Addr(), wire.Postgres, sslRequest})
	}
	for _, broker := range u.Brokers() {
		all = append(all, server{broker, broker.Name(), broker.Addr(), wire.Kafka, versions})
	}
	return all
}

// link opens a link to the server, as the harness does.
func (s server) link(t *testing.T, e *stack.Environment, broker func(int32) (string, bool)) *link.Link {
	t.Helper()
	l, err := link.Open(link.Config{
		Name: "test->" + s.name, Protocol: s.protocol, Upstream: s.addr, Listen: e.LinkHosts(), Broker: broker,
		// Nobody refuses for a container that does not run.
		Refused: func() bool { return !s.Alive() },
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, l.Close()) })
	return l
}

// patience is how long an answer may take on a busy machine, moment how long one is waited for that must
// not come.
const (
	patience = 10 * time.Second
	moment   = 300 * time.Millisecond
)

// asking is a connection on which the question was asked.
type asking struct {
	net.Conn
	since time.Time
}

func ask(t *testing.T, s server, dial func(context.Context, string, string) (net.Conn, error), addr string) *asking {
	t.Helper()
	conn, err := dial(within(t, patience), "tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	a := &asking{conn, time.Now()}
	_, err = conn.Write(s.question)
	require.NoError(t, err)
	return a
}

// answer waits for the beginning of the answer.
func (a *asking) answer(limit time.Duration) (time.Duration, error) {
	if err := a.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return 0, err
	}
	_, err := io.ReadFull(a, make([]byte, 1))
	return time.Since(a.since), err
}

func (a *asking) isAnswered(t *testing.T, message string) time.Duration {
	t.Helper()
	took, err := a.answer(patience)
	require.NoError(t, err, message)
	return took
}

func (a *asking) isNotAnswered(t *testing.T, message string) {
	t.Helper()
	_, err := a.answer(moment)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, message)
}

var plain = new(net.Dialer).DialContext
