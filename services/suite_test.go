package services_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ordeal-chaos/ordeal/services/internal/events"
	"github.com/ordeal-chaos/ordeal/services/order"
	"github.com/ordeal-chaos/ordeal/services/stock"
)

const partitions = 6

// stack is both services with databases and a broker of their own, all in this process except for Postgres.
type stack struct {
	t        testing.TB
	env      map[string]string // of both services, over the defaults
	kafka    *kfake.Cluster
	client   *kgo.Client
	orders   *pgxpool.Pool
	stock    *pgxpool.Pool
	orderURL string
	stockURL string
}

// newStack prepares databases and a broker. Services start with startOrder and startStock.
func newStack(t testing.TB, env map[string]string) *stack {
	cluster := postgres(t)
	s := &stack{t: t, env: env}
	s.orders = cluster.database(t, order.Schema)
	s.stock = cluster.database(t, stock.Schema)
	s.orderURL = "http://" + freeAddress(t)
	s.stockURL = "http://" + freeAddress(t)
	var err error
	s.kafka, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(time.Second),
		kfake.SeedTopics(partitions, events.OrderEvents, events.StockEvents, events.PaymentEvents,
			"dlt-order-events", "dlt-stock-events", "dlt-payment-events", "retry-order-events", "retry-stock-events"))
	require.NoError(t, err)
	t.Cleanup(s.kafka.Close)
	s.client, err = kgo.NewClient(kgo.SeedBrokers(s.kafka.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	require.NoError(t, err)
	t.Cleanup(s.client.Close)
	return s
}

func startedStack(t testing.TB, env map[string]string) *stack {
	s := newStack(t, env)
	s.startOrder()
	s.startStock()
	s.awaitReady(s.orderURL)
	s.awaitReady(s.stockURL)
	return s
}

func (s *stack) startOrder() (stop func()) {
	return s.start(order.Run, map[string]string{"HTTP_ADDR": s.orderURL[len("http://"):], "DATABASE_URL": s.orders.Config().ConnString(), "STOCK_URL": s.stockURL})
}

func (s *stack) startStock() {
	s.start(stock.Run, map[string]string{"HTTP_ADDR": s.stockURL[len("http://"):], "DATABASE_URL": s.stock.Config().ConnString()})
}

// startStockReplica starts one more stock service, until stop.
func (s *stack) startStockReplica() (stop func()) {
	address := freeAddress(s.t)
	stop = s.start(stock.Run, map[string]string{"INSTANCE": "stock-2", "HTTP_ADDR": address, "DATABASE_URL": s.stock.Config().ConnString()})
	s.awaitReady("http://" + address)
	return stop
}

func (s *stack) start(run func(context.Context, func(string) string, io.Writer) int, env map[string]string) (stop func()) {
	env["ORDER_TTL"] = "10m" // no order expires, however slow the machine, unless that is what is tested
	env["KAFKA_BROKERS"] = strings.Join(s.kafka.ListenAddrs(), ",")
	for name, value := range s.env {
		env[name] = value
	}
	ctx, cancel := context.WithCancel(context.Background())
	log := &testLog{}
	exit := make(chan int, 1)
	go func() { exit <- run(ctx, func(name string) string { return env[name] }, log) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case code := <-exit:
			if code != 0 {
				s.t.Errorf("service exited with %d", code)
			}
		case <-time.After(patience):
			s.t.Errorf("service did not stop within %v", patience)
		}
	})
	s.t.Cleanup(func() {
		stop()
		if s.t.Failed() {
			s.t.Logf("log of %s:\n%s", env["HTTP_ADDR"], log)
		}
	})
	return stop
}

func (s *stack) awaitReady(url string) {
	require.Eventually(s.t, func() bool {
		response, err := http.Get(url + "/ready")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		return response.StatusCode == http.StatusOK
	}, patience, 10*time.Millisecond, "%s is not ready", url)
}

// seed gives a product stock.
func (s *stack) seed(product string, qty int64) {
	s.exec(s.stock, `insert into stock (product_id, available) values ($1, $2)`, product, qty)
	s.exec(s.stock, `insert into stock_ledger (product_id, op, qty) values ($1, 'initial', $2)`, product, qty)
}

func (s *stack) exec(pool *pgxpool.Pool, sql string, args ...any) {
	_, err := pool.Exec(context.Background(), sql, args...)
	require.NoError(s.t, err)
}

// one returns the only value of a query, as text; "" for null or no row.
func (s *stack) one(pool *pgxpool.Pool, sql string, args ...any) string {
	var value *string
	rows, err := pool.Query(context.Background(), sql, args...)
	require.NoError(s.t, err)
	defer rows.Close()
	if !rows.Next() {
		return ""
	}
	require.NoError(s.t, rows.Scan(&value))
	if value == nil {
		return ""
	}
	return *value
}

func (s *stack) status(orderID string) string {
	return s.one(s.orders, `select status from orders where order_id = $1`, orderID)
}

func (s *stack) awaitStatus(orderID, status string) {
	s.await(func() string { return s.status(orderID) }, status, "status of order "+orderID)
}

// levels returns "available reserved sold" of a product.
func (s *stack) levels(product string) string {
	return s.one(s.stock, `select concat_ws(' ', available, reserved, sold) from stock where product_id = $1`, product)
}

func (s *stack) awaitLevels(product, levels string) {
	s.await(func() string { return s.levels(product) }, levels, "stock of "+product)
}

func (s *stack) await(read func() string, want, what string) {
	s.t.Helper()
	var got string
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		if got = read(); got == want {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	require.FailNow(s.t, "deadline", "%s is %q and not %q", what, got, want)
}

// never checks that a value stays different for a while in which it would have changed.
func (s *stack) never(read func() string, unwanted string, d time.Duration) {
	s.t.Helper()
	for deadline := time.Now().Add(d); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		require.NotEqual(s.t, unwanted, read())
	}
}

// answer is the status and the decoded body of a response.
type answer struct {
	Status int
	Body   map[string]any
}

func (a answer) text(field string) string { return fmt.Sprint(a.Body[field]) }

func (s *stack) call(method, url, key, body string) answer {
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	require.NoError(s.t, err)
	if key != "" {
		request.Header.Set("Idempotency-Key", key)
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(s.t, err)
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	require.NoError(s.t, err)
	a := answer{Status: response.StatusCode}
	if len(bytes.TrimSpace(data)) > 0 {
		require.NoError(s.t, json.Unmarshal(data, &a.Body), "%s", data)
	}
	return a
}

func (s *stack) post(key, body string) answer {
	return s.call(http.MethodPost, s.orderURL+"/api/v1/orders", key, body)
}

// place places an order that must be accepted, and returns its id.
func (s *stack) place(body string) string {
	a := s.post("", body)
	require.Equal(s.t, http.StatusCreated, a.Status, "%v", a.Body)
	return a.text("orderId")
}

// records reads a topic from its beginning to its present end.
func (s *stack) records(topic string) []*kgo.Record {
	reader, err := kgo.NewClient(kgo.SeedBrokers(s.kafka.ListenAddrs()...), kgo.ConsumeTopics(topic), kgo.FetchMaxWait(50*time.Millisecond))
	require.NoError(s.t, err)
	defer reader.Close()
	var records []*kgo.Record
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var end int64
	for p := range int32(partitions) {
		end += s.kafka.PartitionInfo(topic, p).HighWatermark
	}
	for int64(len(records)) < end {
		records = append(records, reader.PollFetches(ctx).Records()...)
		require.NoError(s.t, ctx.Err(), "read %d of %d records of %s", len(records), end, topic)
	}
	return records
}

// eventsOf counts the records of one order and type in a topic.
func (s *stack) eventsOf(topic, orderID, eventType string) (found []*kgo.Record) {
	for _, record := range s.records(topic) {
		if e, err := events.Decode(record.Value); err == nil && e.OrderID == orderID && e.Type == eventType {
			found = append(found, record)
		}
	}
	return found
}

// produce appends a record.
func (s *stack) produce(record *kgo.Record) {
	require.NoError(s.t, s.client.ProduceSync(context.Background(), record).FirstErr())
}

// again delivers a record a second time.
func (s *stack) again(record *kgo.Record) {
	s.produce(&kgo.Record{Topic: record.Topic, Partition: record.Partition, Key: record.Key, Value: record.Value, Headers: record.Headers})
}

// published waits until everything in both outboxes was published.
func (s *stack) published() {
	s.t.Helper()
	for _, pool := range []*pgxpool.Pool{s.orders, s.stock} {
		s.await(func() string { return s.one(pool, `select count(*)::text from outbox where published_at is null`) }, "0", "unpublished events")
	}
}

// settled waits until a group committed the end of every partition of its topic.
func (s *stack) settled(group, topic string) {
	s.t.Helper()
	s.await(func() string {
		info := s.kafka.GroupInfo(group)
		if info == nil {
			return "unknown"
		}
		var lag int64
		for p := range int32(partitions) {
			lag += s.kafka.PartitionInfo(topic, p).HighWatermark - info.Commits[topic][p].Offset
		}
		return fmt.Sprint(lag)
	}, "0", "lag of group "+group)
}

// freeAddress returns an address that nobody else is given before the test ends.
func freeAddress(t testing.TB) string {
	port, err := reservePort()
	require.NoError(t, err)
	t.Cleanup(func() { _ = port.Close() })
	return port.Addr()
}

// testLog keeps what a service logged.
type testLog struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *testLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *testLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
