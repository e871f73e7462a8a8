package broker

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// one is a cluster of one broker with one topic of so many partitions.
func one(t *testing.T, partitions int32) *kfake.Cluster {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, topic), kfake.GroupMinSessionTimeout(time.Second))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	return cluster
}

// logged returns the records of the topic, as many as are there within half a second.
func logged(t *testing.T, cluster *kfake.Cluster, options ...kgo.Opt) []*kgo.Record {
	t.Helper()
	client, err := kgo.NewClient(append(franzOptions(cluster.ListenAddrs(), "reader"),
		append(options, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)...)
	require.NoError(t, err)
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	var records []*kgo.Record
	for ctx.Err() == nil {
		records = append(records, client.PollFetches(ctx).Records()...)
	}
	return records
}

// TestSequencedSendsAgainWhatLandsOnce loses the answer to a Produce that was appended.
func TestSequencedSendsAgainWhatLandsOnce(t *testing.T) {
	for unnumbered, copies := range map[bool]int{false: 1, true: 2} {
		cluster := one(t, 6)
		var lost atomic.Int32
		producer, err := NewSequenced(SequencedConfig{
			Brokers: cluster.ListenAddrs(), ClientID: "test", Unnumbered: unnumbered, OnLostAnswer: func() { lost.Add(1) },
		})
		require.NoError(t, err)
		m := Message{Topic: topic, Key: []byte("order-1"), Value: []byte("v"), Headers: []Header{{Key: "event_id", Value: []byte("e")}}}
		require.NoError(t, <-producer.Produce(t.Context(), m))

		cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicasAfterAppend, Count: 1})
		require.NoError(t, <-producer.Produce(t.Context(), m))
		producer.Close(t.Context())

		records := logged(t, cluster)
		assert.Len(t, records, 1+copies, "unnumbered: %v", unnumbered)
		for _, r := range records {
			assert.Equal(t, partitionOf(m, 6), r.Partition, "events of an order are where the other producer puts them")
		}
		assert.Zero(t, lost.Load(), "the broker answered")
	}
}

// TestSequencedGivesUpOnWhatItNeverSent has no broker to send to.
func TestSequencedGivesUpOnWhatItNeverSent(t *testing.T) {
	producer, err := NewSequenced(SequencedConfig{Brokers: []string{"127.0.0.1:1"}, ClientID: "test"})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	require.Error(t, <-producer.Produce(ctx, Message{Topic: topic, Value: []byte("v")}))
	producer.Close(ctx)
}

func transactional(t *testing.T, cluster *kfake.Cluster, oneEpoch bool) *Transactional {
	t.Helper()
	producer, err := OpenTransactional(t.Context(), TransactionalConfig{
		Brokers: cluster.ListenAddrs(), ClientID: "test", ID: "test-tx", OneEpoch: oneEpoch,
	})
	require.NoError(t, err)
	return producer
}

// TestTransactionsShowWhatWasCommitted reads by the consumer, with each isolation level.
func TestTransactionsShowWhatWasCommitted(t *testing.T) {
	cluster := one(t, 1)
	producer := transactional(t, cluster, false)
	defer producer.Close()
	say := func(value string, end func() error) {
		require.NoError(t, producer.Produce(t.Context(), []Message{{Topic: topic, Key: []byte("k"), Value: []byte(value)}}))
		require.NoError(t, end())
	}
	say("first", producer.Commit)
	say("aborted", producer.Abort)
	say("last", producer.Commit)

	for _, uncommitted := range []bool{false, true} {
		want := []string{"first", "last"}
		if uncommitted {
			want = []string{"first", "aborted", "last"}
		}
		var seen []string
		var shown atomic.Int32
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		consumer := NewConsumer(ConsumerConfig{
			Brokers: cluster.ListenAddrs(), ClientID: "test", Group: "group", Topics: []string{topic}, SessionTimeout: 2 * time.Second,
			Transactions: &Transactions{Uncommitted: uncommitted, OnUncommitted: func() { shown.Add(1) }},
			Handle: func(_ context.Context, record Record) error {
				seen = append(seen, string(record.Value))
				if string(record.Value) == "last" {
					cancel()
				}
				return nil
			},
			Log: slog.New(slog.DiscardHandler),
		})
		consumer.cfg.Group += want[len(want)-2] // each reads from the beginning
		consumer.Run(ctx)
		assert.Equal(t, want, seen)
		assert.Equal(t, uncommitted, shown.Load() > 0)
	}
}

// TestTheNextUserOfATransactionalIDEndsWhatIsOpen leaves a transaction open, as a process that is killed does.
func TestTheNextUserOfATransactionalIDEndsWhatIsOpen(t *testing.T) {
	cluster := one(t, 1)
	first := transactional(t, cluster, false)
	require.NoError(t, first.Produce(t.Context(), []Message{{Topic: topic, Value: []byte("open")}}))
	second := transactional(t, cluster, false)
	defer second.Close()
	require.NoError(t, second.Produce(t.Context(), []Message{{Topic: topic, Value: []byte("next")}}))
	require.NoError(t, second.Commit())
	require.Error(t, first.Commit(), "it was fenced")
	first.Close()

	records := logged(t, cluster, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	require.Len(t, records, 1)
	assert.Equal(t, "next", string(records[0].Value))
}

// TestEpochs ends a transaction a second time when the next is open, as an EndTxn does that was delayed (KAFKA-17754).
func TestEpochs(t *testing.T) {
	for oneEpoch, ends := range map[bool]bool{false: false, true: true} {
		cluster := one(t, 1)
		producer := transactional(t, cluster, oneEpoch)
		id, epoch, err := producer.client.ProducerID(t.Context())
		require.NoError(t, err)
		require.NoError(t, producer.Produce(t.Context(), []Message{{Topic: topic, Value: []byte("one")}}))
		require.NoError(t, producer.Commit())
		require.NoError(t, producer.Produce(t.Context(), []Message{{Topic: topic, Value: []byte("two")}}))

		late := kmsg.NewEndTxnRequest()
		late.TransactionalID, late.ProducerID, late.ProducerEpoch, late.Commit = "test-tx", id, epoch, true
		other, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
		require.NoError(t, err)
		answer, err := late.RequestWith(t.Context(), other)
		other.Close()
		require.NoError(t, err)
		assert.Equal(t, ends, answer.ErrorCode == 0, "one epoch: %v", oneEpoch)
		producer.Close() // without ending the second

		records := logged(t, cluster, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
		assert.Len(t, records, map[bool]int{false: 1, true: 2}[oneEpoch])
	}
}
