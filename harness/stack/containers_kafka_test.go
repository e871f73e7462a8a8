package stack

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// newContainers returns a backend that is closed at the end of the test.
func newContainers(t testing.TB, config ContainersConfig) *containers {
	t.Helper()
	needEngine(t)
	config.Log = func(line string) { t.Log(line) }
	b, err := NewContainers(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b.(*containers)
}

// contained returns an environment that is only Kafka.
func contained(t testing.TB, b Backend, brokers int) (*Environment, *events) {
	t.Helper()
	seen := &events{}
	e, err := b.New(t.Context(), Options{Dir: t.TempDir(), Topics: testTopics, Brokers: brokers, Record: seen.record})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close(context.Background())) })
	return e, seen
}

func TestKafkaInAContainer(t *testing.T) {
	b := newContainers(t, ContainersConfig{})
	t.Run("is reset for the next environment", func(t *testing.T) { resetLeavesNothing(t, b, 1) })
	t.Run("keeps its data and addresses over every end", func(t *testing.T) { brokerKeepsItsData(t, b) })
	t.Run("knows its peers", func(t *testing.T) { peersAreAllClientsAndNobodyElse(t, b) })
	t.Run("is replaced when unfit", func(t *testing.T) { unfitClusterIsReplaced(t, b) })
	t.Run("advertises its address when asked to", func(t *testing.T) { directIsForPlainClients(t, b) })
	t.Run("cannot be isolated alone", func(t *testing.T) {
		e, _ := contained(t, b, 1)
		assert.ErrorContains(t, e.Isolate(t.Context(), "kafka-1"), "it is the only broker")
		assert.ErrorContains(t, e.Isolate(t.Context(), "kafka-9"), "no such broker")
	})
	t.Run("is lent to one environment at a time", func(t *testing.T) { parallelEnvironmentsShareNothing(t, b) })
}

func TestThreeKafkaContainers(t *testing.T) {
	b := newContainers(t, ContainersConfig{})
	t.Run("are reset for the next environment", func(t *testing.T) { resetLeavesNothing(t, b, 3) })
	t.Run("elect leaders around a dead one", func(t *testing.T) { leaderIsReplaced(t, b) })
	t.Run("lose what only an isolated leader has", func(t *testing.T) { isolatedLeaderStillBelieves(t, b) })
}

// The timings that people run: a dead leader is missed for longer.
func TestThreeKafkaContainersWithDefaultTimings(t *testing.T) {
	leaderIsReplaced(t, newContainers(t, ContainersConfig{KafkaProfile: "default"}))
}

// litter leaves behind all that a careless client can: members that are gone but not missed, committed offsets,
// an open transaction.
func litter(t *testing.T, e *Environment) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	produce(t, kafkaClient(t, e), "o-1")
	for group, options := range map[string][]kgo.Opt{
		"classic": {},
		"next":    {kgo.ServerSideBalancer()}, // KIP-848
	} {
		// A static member does not leave when it ends.
		options = append(options, kgo.ConsumerGroup(group), kgo.InstanceID(rand.Text()), kgo.ConsumeTopics("order-events"),
			kgo.SessionTimeout(time.Minute), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
		member := kafkaClient(t, e, options...)
		for {
			fetches := member.PollFetches(ctx)
			require.NoError(t, fetches.Err0())
			if fetches.NumRecords() > 0 {
				break
			}
		}
		require.NoError(t, member.CommitUncommittedOffsets(ctx))
		member.Close()
	}
	producer := kafkaClient(t, e, kgo.TransactionalID("tx"), kgo.TransactionTimeout(time.Minute))
	require.NoError(t, producer.BeginTransaction())
	require.NoError(t, producer.ProduceSync(ctx, &kgo.Record{Topic: "stock-events", Value: []byte("open")}).FirstErr())
	producer.Close()
}

func resetLeavesNothing(t *testing.T, b *containers, brokers int) {
	e, _ := contained(t, b, brokers)
	pid := e.Brokers()[0].PID()
	litter(t, e)
	groups, err := kadm.NewClient(kafkaClient(t, e)).DescribeGroups(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, groups, "there is something to reset")
	require.NoError(t, e.Close(t.Context()))

	e, seen := contained(t, b, brokers)
	require.Equal(t, pid, e.Brokers()[0].PID(), "it is the same broker")
	assert.Equal(t, []string{"started", "ready"}, seen.of("kafka-1"))
	admin := kadm.NewClient(kafkaClient(t, e))
	listed, err := admin.ListGroups(t.Context())
	require.NoError(t, err)
	assert.Empty(t, listed.Groups())
	offsets, err := admin.FetchOffsets(t.Context(), "classic")
	if !kerr.IsRetriable(err) && err != nil {
		assert.ErrorIs(t, err, kerr.GroupIDNotFound)
	}
	assert.Empty(t, offsets)
	assert.Empty(t, consumeNothing(t, e), "topics of the same names are empty")

	// The names can be used again at once.
	began := time.Now()
	litter(t, e)
	t.Logf("second use took %s", time.Since(began))
	assert.Less(t, time.Since(began), 10*time.Second)
}

func brokerKeepsItsData(t *testing.T, b *containers) {
	e, seen := contained(t, b, 1)
	broker := e.Brokers()[0]
	addr := broker.Addr()
	client := kafkaClient(t, e)
	produce(t, client, "o-1")
	require.NoError(t, broker.Kill(t.Context()))
	assert.False(t, broker.Alive())
	require.NoError(t, broker.Start(t.Context()))
	assert.Equal(t, addr, broker.Addr())
	produce(t, client, "o-2")
	require.NoError(t, broker.Terminate(t.Context()))
	require.NoError(t, broker.Start(t.Context()))
	produce(t, client, "o-3")

	require.NoError(t, broker.Pause(t.Context()))
	answer := make(chan error, 1)
	client.Produce(context.Background(), &kgo.Record{Topic: "order-events", Key: []byte("o-4")}, func(_ *kgo.Record, err error) { answer <- err })
	select {
	case err := <-answer:
		assert.Fail(t, "a paused broker answered", "%v", err)
	case <-time.After(300 * time.Millisecond):
	}
	require.NoError(t, broker.Resume(t.Context()))
	require.NoError(t, <-answer)
	assert.Equal(t, []string{"o-1", "o-2", "o-3", "o-4"}, consume(t, e, 4))
	assert.Equal(t, []string{
		"started", "ready", "exited killed", "started", "ready", "exited 143", "started", "ready", "paused", "resumed",
	}, stopSignal(seen.of("kafka-1")))
	assert.Empty(t, e.UnexpectedExits())
	assert.Contains(t, strings.Join(broker.LastLog(100000), "\n"), "Kafka Server started")
}

// stopSignal names the end of a JVM that was asked to stop, which the engine reports as that of a shell.
func stopSignal(states []string) []string {
	for i, state := range states {
		if state == history.Exited+" terminated" {
			states[i] = history.Exited + " 143"
		}
	}
	return states
}

func peersAreAllClientsAndNobodyElse(t *testing.T, b *containers) {
	e, _ := contained(t, b, 1)
	broker := e.Brokers()[0]
	require.True(t, broker.PeersExact() || !b.engine.direct)
	if !broker.PeersExact() {
		t.Skip("this engine hides the ports of clients")
	}
	produce(t, kafkaClient(t, e), "o-1")
	unknown := func() []int {
		peers, err := broker.Peers()
		require.NoError(t, err)
		require.NotEmpty(t, peers)
		return slices.DeleteFunc(peers, e.Observers().Owns)
	}
	assert.Empty(t, unknown(), "observers are known, and nothing of the environment before is told")
	var own []int
	for range 2 {
		conn, err := net.Dial("tcp", broker.Addr())
		require.NoError(t, err)
		own = append(own, conn.LocalAddr().(*net.TCPAddr).Port)
		assert.Equal(t, own, unknown(), "the list is complete at once, and over all starts")
		require.NoError(t, conn.Close())
		require.NoError(t, broker.Kill(t.Context()))
		require.NoError(t, broker.Start(t.Context()))
	}
	conn, err := net.Dial("tcp", broker.Node.(*container).publishedAddress(clientPort))
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	strangers, err := broker.Strangers()
	require.NoError(t, err)
	assert.Len(t, slices.Concat(strangers, make([]string, len(unknown())-len(own))), 1, "a published port is a way round too")
}

func unfitClusterIsReplaced(t *testing.T, b *containers) {
	for name, spoil := range map[string]func(Node) error{
		"killed": func(n Node) error { return n.Kill(t.Context()) },
		"paused": func(n Node) error { return n.Pause(t.Context()) },
	} {
		e, _ := contained(t, b, 1)
		pid := e.Brokers()[0].PID()
		require.NoError(t, spoil(e.Brokers()[0]))
		require.NoError(t, e.Close(t.Context()))
		e, seen := contained(t, b, 1)
		assert.NotEqual(t, pid, e.Brokers()[0].PID(), name)
		assert.Equal(t, []string{"started", "ready"}, seen.of("kafka-1"))
		produce(t, kafkaClient(t, e), "o-1")
		require.NoError(t, e.Close(t.Context()))
	}
}

func directIsForPlainClients(t *testing.T, b *containers) {
	e, err := b.New(t.Context(), Options{Dir: t.TempDir(), Topics: testTopics, Direct: true})
	require.NoError(t, err)
	client, err := kgo.NewClient(kgo.SeedBrokers(e.Brokers()[0].Addr()))
	require.NoError(t, err)
	defer client.Close()
	produce(t, client, "o-1")
	require.NoError(t, e.Close(t.Context()))
	assert.Empty(t, slices.DeleteFunc(slices.Clone(b.pool.free), func(r *returned) bool {
		return r.brokers[0].address(clientPort) != e.Brokers()[0].Addr()
	}), "it is not lent again")
}

func parallelEnvironmentsShareNothing(t *testing.T, b *containers) {
	one, _ := contained(t, b, 1)
	two, _ := contained(t, b, 1)
	produce(t, kafkaClient(t, one), "o-1")
	assert.Empty(t, consumeNothing(t, two))
	assert.NotEqual(t, one.Brokers()[0].Addr(), two.Brokers()[0].Addr())
}

// leaderOf returns the broker that leads partition 0 of order-events, as this one knows.
func leaderOf(t *testing.T, e *Environment, asked *Broker) *Broker {
	t.Helper()
	metadata, err := metadataOf(t.Context(), e.ObserverDial, asked.Addr(), []Topic{{Name: "order-events"}})
	if err != nil {
		return nil
	}
	for _, p := range metadata.Topics[0].Partitions {
		if p.Partition == 0 {
			for _, broker := range e.Brokers() {
				if broker.NodeID() == p.Leader {
					return broker
				}
			}
		}
	}
	return nil
}

// others returns the brokers but one.
func others(e *Environment, but *Broker) []*Broker {
	return slices.DeleteFunc(e.Brokers(), func(b *Broker) bool { return b == but })
}

func leaderIsReplaced(t *testing.T, b *containers) {
	e, seen := contained(t, b, 3)
	leader := leaderOf(t, e, e.Brokers()[0])
	require.NotNil(t, leader)
	produce(t, kafkaClient(t, e), "o-1")
	require.NoError(t, leader.Kill(t.Context()))
	began := time.Now()
	rest := others(e, leader)
	require.Eventually(t, func() bool {
		next := leaderOf(t, e, rest[0])
		return next != nil && next != leader
	}, 30*time.Second, 20*time.Millisecond)
	t.Logf("a new leader %s after the kill", time.Since(began))
	client := kafkaClient(t, e, kgo.SeedBrokers(rest[0].Addr()))
	produce(t, client, "o-2")
	require.NoError(t, leader.Start(t.Context()))
	assert.Equal(t, []string{"o-1", "o-2"}, consume(t, e, 2))
	for _, broker := range e.Brokers() {
		want := []string{"started", "ready"}
		if broker == leader {
			want = append(want, "exited killed", "started", "ready")
		}
		assert.Equal(t, want, seen.of(broker.Name()), "one broker alone dies")
	}
	for _, broker := range e.Brokers() {
		strangers, err := broker.Strangers()
		require.NoError(t, err)
		assert.Empty(t, strangers, "the other brokers are no strangers")
		peers, err := broker.Peers()
		require.NoError(t, err)
		assert.Empty(t, slices.DeleteFunc(peers, e.Observers().Owns))
	}
}

// offer sends one record to one broker as to the leader of partition 0, and returns what it said.
func offer(t *testing.T, e *Environment, to *Broker, key string, acks kgo.Acks) error {
	t.Helper()
	// The client knows no other broker, and leaves it at one attempt.
	options := []kgo.Opt{
		kgo.RequiredAcks(acks), kgo.DisableIdempotentWrite(), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RecordRetries(0), kgo.RecordDeliveryTimeout(2 * time.Second), kgo.ProduceRequestTimeout(time.Second),
		kgo.SeedBrokers(to.Addr()), kgo.Dialer(func(ctx context.Context, network, _ string) (net.Conn, error) {
			return e.ObserverDial(ctx, network, to.Addr())
		}),
	}
	client, err := kgo.NewClient(options...)
	require.NoError(t, err)
	defer client.Close()
	return client.ProduceSync(t.Context(), &kgo.Record{Topic: "order-events", Partition: 0, Key: []byte(key)}).FirstErr()
}

func isolatedLeaderStillBelieves(t *testing.T, b *containers) {
	e, _ := contained(t, b, 3)
	leader := leaderOf(t, e, e.Brokers()[0])
	require.NotNil(t, leader)
	require.NoError(t, offer(t, e, leader, "before", kgo.AllISRAcks()))
	addr := leader.Addr()
	require.NoError(t, e.Isolate(t.Context(), leader.Name()))
	require.NoError(t, e.Isolate(t.Context(), leader.Name()), "again is no error")
	began := time.Now()

	// Clients still reach it, and it still believes that it leads.
	require.NoError(t, offer(t, e, leader, "lost", kgo.LeaderAck()))
	assert.Error(t, offer(t, e, leader, "refused", kgo.AllISRAcks()), "no replica can follow")
	published, err := net.DialTimeout("tcp", leader.Node.(*container).publishedAddress(clientPort), time.Second)
	require.NoError(t, err)
	require.NoError(t, published.Close())

	rest := others(e, leader)
	require.Eventually(t, func() bool {
		next := leaderOf(t, e, rest[0])
		return next != nil && next != leader && offer(t, e, next, "kept", kgo.AllISRAcks()) == nil
	}, 60*time.Second, 20*time.Millisecond, "the others elect a leader")
	t.Logf("a new leader serves %s after the cut", time.Since(began))
	require.NoError(t, offer(t, e, leader, "lost too", kgo.LeaderAck()), "two leaders at once")

	began = time.Now()
	require.NoError(t, e.Rejoin(t.Context(), leader.Name()))
	require.NoError(t, e.Rejoin(t.Context(), leader.Name()), "again is no error")
	assert.Equal(t, addr, leader.Addr())
	require.Eventually(t, func() bool {
		for _, broker := range e.Brokers() {
			metadata, err := metadataOf(t.Context(), e.ObserverDial, broker.Addr(), testTopics)
			if err != nil || !led(metadata, testTopics) || leaderOf(t, e, broker) != leaderOf(t, e, rest[0]) {
				return false
			}
		}
		return leaderOf(t, e, rest[0]) != leader
	}, 60*time.Second, 20*time.Millisecond, "all replicas are in sync again, and all brokers agree")
	t.Logf("in sync %s after the cut ended", time.Since(began))
	// An attempt that timed out may be in the log all the same.
	assert.Equal(t, []string{"before", "kept"}, slices.Compact(partitionKeys(t, e)), "the old leader cut off what nobody else had")
	require.NoError(t, e.Close(t.Context()))
	again, _ := contained(t, b, 3)
	assert.Equal(t, leader.PID(), brokerNamed(again, leader.Name()).PID(), "it is fit to be used again")
}

// partitionKeys returns the keys in partition 0 of order-events.
func partitionKeys(t *testing.T, e *Environment) []string {
	t.Helper()
	client := kafkaClient(t, e, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"order-events": {0: kgo.NewOffset().AtStart()}}))
	ends, err := kadm.NewClient(client).ListEndOffsets(t.Context(), "order-events")
	require.NoError(t, err)
	end, ok := ends.Lookup("order-events", 0)
	require.True(t, ok)
	require.NoError(t, end.Err)
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	var keys []string
	for int64(len(keys)) < end.Offset {
		fetches := client.PollFetches(ctx)
		require.NoError(t, fetches.Err0())
		fetches.EachRecord(func(r *kgo.Record) { keys = append(keys, string(r.Key)) })
	}
	return keys
}

func brokerNamed(e *Environment, name string) *Broker {
	for _, broker := range e.Brokers() {
		if broker.Name() == name {
			return broker
		}
	}
	panic(fmt.Sprint("no broker ", name))
}
