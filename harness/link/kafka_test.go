package link_test

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	segment "github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/link"
	"github.com/ordeal-chaos/ordeal/harness/wire"
)

// dead is a listener whose broker advertises an address where nothing listens.
type dead struct {
	net.Listener
	port int
}

func (d dead) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: d.port} }

// brokers starts three brokers that advertise dead addresses, and a link to each for one client.
func brokers(t testing.TB, record func(history.Wire)) []*link.Link {
	t.Helper()
	var real []string
	cluster, err := kfake.NewCluster(
		kfake.NumBrokers(3), kfake.SeedTopics(6, "order-events"), kfake.GroupMinSessionTimeout(time.Second),
		kfake.ListenFn(func(network, _ string) (net.Listener, error) {
			l, err := net.Listen(network, "127.0.0.1:0")
			if err != nil {
				return nil, err
			}
			real = append(real, l.Addr().String())
			return dead{l, len(real)}, nil
		}))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	require.Len(t, real, 3)
	var links atomic.Pointer[[]*link.Link]
	topics := new(wire.Topics)
	opened := make([]*link.Link, len(real))
	for i := range real {
		opened[i] = open(t, link.Config{
			Name: fmt.Sprintf("order->kafka-%d", i+1), Protocol: wire.Kafka, Upstream: real[i], Topics: topics, Record: record,
			Broker: func(node int32) (string, bool) {
				all := *links.Load()
				for j, a := range cluster.ListenAddrs() {
					// node ids of kfake count from 0 in the order of its listeners
					if _, port, _ := net.SplitHostPort(a); int(node) == j {
						n, _ := strconv.Atoi(port)
						return all[n-1].Addr(), true
					}
				}
				return "", false
			},
		})
	}
	links.Store(&opened)
	return opened
}

func addrs(links []*link.Link) []string {
	var all []string
	for _, l := range links {
		all = append(all, l.Addr())
	}
	return all
}

func client(t testing.TB, links []*link.Link, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(addrs(links)...), kgo.FetchMaxWait(100 * time.Millisecond)}, options...)...)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func TestFranzGoThroughLinks(t *testing.T) {
	for name, codec := range map[string]kgo.CompressionCodec{
		"plain": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	} {
		t.Run(name, func(t *testing.T) {
			recorded := new(events)
			links := brokers(t, recorded.record)
			producer := client(t, links, kgo.ProducerBatchCompression(codec))
			const count = 50
			for i := range count {
				key := fmt.Sprintf("order-%04d", i)
				require.NoError(t, producer.ProduceSync(within(t), &kgo.Record{
					Topic: "order-events", Key: []byte(key), Value: []byte(strings.Repeat(key, 50)),
					Headers: []kgo.RecordHeader{{Key: "event_id", Value: []byte("event-" + key)}, {Key: "event_type", Value: []byte("OrderPlaced")}},
				}).FirstErr())
			}
			group := client(t, links, kgo.ConsumerGroup("stock"), kgo.ConsumeTopics("order-events"),
				kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
			seen := map[string]bool{}
			for len(seen) < count {
				fetched := group.PollFetches(within(t))
				require.NoError(t, fetched.Err0())
				fetched.EachRecord(func(r *kgo.Record) { seen[fmt.Sprintf("%s/%d@%d", r.Topic, r.Partition, r.Offset)] = true })
			}
			require.NoError(t, group.CommitUncommittedOffsets(within(t)))

			produced := recorded.where(func(w history.Wire) bool { return w.Kind == "Produce" })
			require.Len(t, produced, 2*count)
			answered, asked := map[string]bool{}, map[string]bool{}
			for _, w := range produced {
				require.Len(t, w.Tokens, 3, "%+v", w)
				require.Equal(t, "event-"+w.Tokens[0], w.Tokens[1])
				require.Len(t, w.Records, 1)
				require.True(t, strings.HasPrefix(w.Records[0], "order-events/"), "topic ids must be named: %s", w.Records[0])
				if w.Direction == history.Request {
					asked[w.Tokens[0]] = true
				} else {
					require.True(t, asked[w.Tokens[0]], "answer before request")
					answered[w.Records[0]] = true
				}
			}
			require.Equal(t, seen, answered)
			delivered := map[string]bool{}
			for _, w := range recorded.where(func(w history.Wire) bool { return w.Kind == "Fetch" }) {
				for _, r := range w.Records {
					delivered[r] = true
				}
			}
			require.Equal(t, seen, delivered)
			commits := recorded.where(func(w history.Wire) bool { return w.Kind == "OffsetCommit" })
			require.NotEmpty(t, commits)
		})
	}
}

func TestTransactionsThroughLinks(t *testing.T) {
	recorded := new(events)
	links := brokers(t, recorded.record)
	producer := client(t, links, kgo.TransactionalID("order"))
	for i, end := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort, kgo.TryCommit} {
		require.NoError(t, producer.BeginTransaction())
		require.NoError(t, producer.ProduceSync(within(t), &kgo.Record{Topic: "order-events", Partition: 0, Key: fmt.Append(nil, "order-", i)}).FirstErr())
		require.NoError(t, producer.EndTransaction(within(t), end))
	}
	reader := client(t, links, kgo.ConsumeTopics("order-events"), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	var keys []string
	for len(keys) < 2 {
		fetched := reader.PollFetches(within(t))
		require.NoError(t, fetched.Err0())
		fetched.EachRecord(func(r *kgo.Record) { keys = append(keys, string(r.Key)) })
	}
	assert.ElementsMatch(t, []string{"order-0", "order-2"}, keys)
	total := 0
	for _, w := range recorded.where(func(w history.Wire) bool { return w.Kind == "Fetch" }) {
		total += len(w.Records)
		assert.Len(t, w.Tokens, len(w.Records), "control records carry no key of ours: %+v", w)
	}
	assert.Equal(t, 3, total, "two committed, one aborted, no control record")
}

func TestKafkaGoThroughLinks(t *testing.T) {
	recorded := new(events)
	links := brokers(t, recorded.record)
	transport := &segment.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	writer := &segment.Writer{
		Addr: segment.TCP(addrs(links)...), Topic: "order-events", Balancer: &segment.Hash{}, RequiredAcks: segment.RequireAll,
		BatchSize: 1, Transport: transport,
	}
	t.Cleanup(func() { assert.NoError(t, writer.Close()) })
	for i := range 20 {
		require.NoError(t, writer.WriteMessages(within(t), segment.Message{Key: fmt.Appendf(nil, "order-%04d", i), Value: []byte("{}"),
			Headers: []segment.Header{{Key: "event_id", Value: fmt.Appendf(nil, "event-%04d", i)}}}))
	}
	reader := segment.NewReader(segment.ReaderConfig{
		Brokers: addrs(links), GroupID: "stock", Topic: "order-events", StartOffset: segment.FirstOffset, MaxWait: 100 * time.Millisecond,
		HeartbeatInterval: 200 * time.Millisecond, SessionTimeout: 2 * time.Second, RebalanceTimeout: 2 * time.Second,
		JoinGroupBackoff: 100 * time.Millisecond, ReadBackoffMin: 20 * time.Millisecond, ReadBackoffMax: 250 * time.Millisecond,
	})
	t.Cleanup(func() { assert.NoError(t, reader.Close()) })
	seen := map[string]bool{}
	for range 20 {
		m, err := reader.ReadMessage(within(t))
		require.NoError(t, err)
		seen[string(m.Key)] = true
	}
	assert.Len(t, seen, 20)
	delivered := map[string]bool{}
	for _, w := range recorded.where(func(w history.Wire) bool { return w.Kind == "Fetch" }) {
		for _, token := range w.Tokens {
			delivered[token] = true
		}
	}
	assert.Len(t, delivered, 40, "keys and event ids")

	t.Run("a held produce is written only when forwarded", func(t *testing.T) {
		var holds []*link.Hold
		for _, l := range links {
			holds = append(holds, l.Hold(link.Match{Direction: history.Request, Kind: "Produce", Tokens: []string{"order-9999"}}))
		}
		done := make(chan error, 1)
		go func() {
			done <- writer.WriteMessages(within(t), segment.Message{Key: []byte("order-9999")})
		}()
		var held *link.Hold
		select {
		case <-holds[0].Caught():
			held = holds[0]
		case <-holds[1].Caught():
			held = holds[1]
		case <-holds[2].Caught():
			held = holds[2]
		case <-time.After(10 * time.Second):
			require.Fail(t, "no Produce was caught")
		}
		select {
		case err := <-done:
			require.Fail(t, "answered while held", "%v", err)
		case <-time.After(50 * time.Millisecond):
		}
		held.Forward()
		require.NoError(t, <-done)
		m, err := reader.ReadMessage(within(t))
		require.NoError(t, err)
		assert.Equal(t, "order-9999", string(m.Key))
		for _, h := range holds {
			h.Cancel()
		}
	})
}
