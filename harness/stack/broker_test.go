package stack

import (
	"context"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func produce(t *testing.T, client *kgo.Client, key string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	record := &kgo.Record{Topic: "order-events", Key: []byte(key), Value: []byte("{}")}
	require.NoError(t, client.ProduceSync(ctx, record).FirstErr())
}

func consume(t *testing.T, e *Environment, want int) []string {
	t.Helper()
	client := kafkaClient(t, e, kgo.ConsumeTopics("order-events"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	var keys []string
	for len(keys) < want {
		fetches := client.PollFetches(ctx)
		require.NoError(t, fetches.Err0())
		fetches.EachRecord(func(r *kgo.Record) { keys = append(keys, string(r.Key)) })
	}
	slices.Sort(keys)
	return keys
}

func TestBrokerKeepsAcknowledgedRecordsOverACrash(t *testing.T) {
	e, seen := newEnvironment(t, newBackend(t), func(o *Options) { o.Databases = nil })
	broker := e.Brokers()[0]
	client := kafkaClient(t, e)
	produce(t, client, "o-1")

	require.NoError(t, broker.Kill(t.Context()))
	_, err := net.DialTimeout("tcp", broker.Addr(), time.Second)
	assert.ErrorIs(t, err, syscall.ECONNREFUSED)
	require.NoError(t, broker.Start(t.Context()))
	produce(t, client, "o-2")
	require.NoError(t, broker.Terminate(t.Context()))
	require.NoError(t, broker.Start(t.Context()))
	assert.Equal(t, []string{"o-1", "o-2"}, consume(t, e, 2))
	assert.Equal(t, []string{"started", "ready", "exited killed", "started", "ready", "exited 0", "started", "ready"}, seen.of("kafka-1"))
	assert.Empty(t, e.UnexpectedExits())
}

func TestPausedBrokerAnswersAfterResume(t *testing.T) {
	e, _ := newEnvironment(t, newBackend(t), func(o *Options) { o.Databases = nil })
	broker := e.Brokers()[0]
	client := kafkaClient(t, e)
	produce(t, client, "o-1")
	require.NoError(t, broker.Pause(t.Context()))
	answer := make(chan error, 1)
	client.Produce(context.Background(), &kgo.Record{Topic: "order-events", Key: []byte("o-2")}, func(_ *kgo.Record, err error) { answer <- err })
	select {
	case err := <-answer:
		assert.Fail(t, "a paused broker answered", "%v", err)
	case <-time.After(200 * time.Millisecond):
	}
	require.NoError(t, broker.Resume(t.Context()))
	assert.NoError(t, <-answer)
}

func TestThreeBrokersAdvertiseDeadAddresses(t *testing.T) {
	e, seen := newEnvironment(t, newBackend(t), func(o *Options) { o.Databases, o.Brokers = nil, 3 })
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	metadata, err := kadm.NewClient(kafkaClient(t, e)).Metadata(ctx)
	require.NoError(t, err)
	require.Len(t, metadata.Brokers, 3)
	for i, broker := range metadata.Brokers {
		assert.Equal(t, "127.0.0.1", broker.Host)
		assert.Equal(t, int32(i+1), broker.Port, "a port that nobody listens on")
		assert.Equal(t, e.Brokers()[i].NodeID(), broker.NodeID)
	}
	for _, topic := range testTopics {
		assert.Len(t, metadata.Topics[topic.Name].Partitions, int(topic.Partitions))
	}

	// A client without the observers' dialer reaches the seed and then nothing.
	lost, err := kgo.NewClient(kgo.SeedBrokers(e.Brokers()[0].Addr()), kgo.RecordDeliveryTimeout(time.Second))
	require.NoError(t, err)
	defer lost.Close()
	assert.Error(t, lost.ProduceSync(ctx, &kgo.Record{Topic: "order-events", Value: []byte("{}")}).FirstErr())
	assert.Empty(t, consumeNothing(t, e))

	produce(t, kafkaClient(t, e), "o-1")
	assert.Equal(t, []string{"o-1"}, consume(t, e, 1))

	// One process: the end of one is the end of all, and the history says so.
	require.NoError(t, e.Brokers()[1].Kill(t.Context()))
	for _, name := range []string{"kafka-1", "kafka-2", "kafka-3"} {
		assert.Equal(t, []string{"started", "ready", "exited killed"}, seen.of(name))
	}
}

// consumeNothing returns the end offsets above zero.
func consumeNothing(t *testing.T, e *Environment) []int64 {
	t.Helper()
	ends, err := kadm.NewClient(kafkaClient(t, e)).ListEndOffsets(t.Context(), "order-events")
	require.NoError(t, err)
	var above []int64
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			above = append(above, o.Offset)
		}
	})
	return above
}

func TestBrokerPeersAreAllClientsAndNobodyElse(t *testing.T) {
	e, _ := newEnvironment(t, newBackend(t), func(o *Options) { o.Databases = nil })
	broker := e.Brokers()[0]
	produce(t, kafkaClient(t, e), "o-1")
	unknown := func() []int {
		peers, err := broker.Peers()
		require.NoError(t, err)
		require.NotEmpty(t, peers)
		return slices.DeleteFunc(peers, e.Observers().Owns)
	}
	assert.Empty(t, unknown(), "observers are known")
	var stranger []int
	for range 2 {
		conn, err := net.Dial("tcp", broker.Addr())
		require.NoError(t, err)
		stranger = append(stranger, conn.LocalAddr().(*net.TCPAddr).Port)
		require.Eventually(t, func() bool { return len(unknown()) == len(stranger) }, 10*time.Second, time.Millisecond)
		require.NoError(t, conn.Close())
		require.NoError(t, broker.Kill(t.Context()))
		require.NoError(t, broker.Start(t.Context()))
	}
	assert.Equal(t, stranger, unknown(), "over all starts")
}
