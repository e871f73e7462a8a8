package broker

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	topic    = "events"
	patience = 30 * time.Second
)

// three is a cluster of three brokers, each of which can stop to read what is sent to it.
type three struct {
	*kfake.Cluster
	t     *testing.T
	nodes []*pausable
}

// pausable is a broker's listener. While it is paused its sockets take connections and bytes, and nobody reads them.
type pausable struct {
	net.Listener
	mu      sync.Mutex
	running chan struct{} // closed while running
}

type pausableConn struct {
	net.Conn
	of *pausable
}

func (p *pausable) Accept() (net.Conn, error) {
	conn, err := p.Listener.Accept()
	return &pausableConn{conn, p}, err
}

func (c *pausableConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.of.mu.Lock()
	running := c.of.running
	c.of.mu.Unlock()
	<-running
	return n, err
}

func (p *pausable) pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running = make(chan struct{})
}

func (p *pausable) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.running:
	default:
		close(p.running)
	}
}

func startThree(t *testing.T) *three {
	c := &three{t: t}
	var err error
	c.Cluster, err = kfake.NewCluster(kfake.NumBrokers(3), kfake.SeedTopics(1, topic), kfake.GroupMinSessionTimeout(time.Second),
		kfake.ListenFn(func(network, address string) (net.Listener, error) {
			listener, err := net.Listen(network, address)
			p := &pausable{Listener: listener, running: make(chan struct{})}
			close(p.running)
			c.nodes = append(c.nodes, p)
			return p, err
		}))
	require.NoError(t, err)
	t.Cleanup(func() {
		for _, node := range c.nodes {
			node.resume()
		}
		c.Close()
	})
	require.Len(t, c.nodes, 3)
	return c
}

// lead makes a broker the leader of the topic's partition.
func (c *three) lead(node int32) { require.NoError(c.t, c.MoveTopicPartition(topic, 0, node)) }

// on answers some requests to one broker instead of it, until false.
func (c *three) on(key kmsg.Key, node int32, answer func(kmsg.Request) (kmsg.Response, bool)) {
	c.ControlKey(key.Int16(), func(request kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if c.CurrentNode() != node {
			return nil, nil, false
		}
		response, handled := answer(request)
		return response, nil, handled
	})
}

func (c *three) producer() *Producer {
	p := NewProducer(ProducerConfig{Brokers: c.ListenAddrs(), ClientID: "test"})
	c.t.Cleanup(p.Close)
	return p
}

func message(n int) Message {
	return Message{Topic: topic, Key: []byte("order"), Value: []byte(strconv.Itoa(n))}
}

// produce produces a message as the relay does: again until it is acknowledged. It returns how often it failed.
func (c *three) produce(p *Producer, n int) (failures []error) {
	c.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		err := p.Produce(context.Background(), topic, 0, []Message{message(n)})
		if err == nil {
			return failures
		}
		require.True(c.t, time.Now().Before(deadline), "%v", err)
		failures = append(failures, err)
		time.Sleep(20 * time.Millisecond)
	}
}

// log is what the partition holds.
func (c *three) log() []int {
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.ConsumeTopics(topic))
	require.NoError(c.t, err)
	defer client.Close()
	var values []int
	for end := c.PartitionInfo(topic, 0).HighWatermark; int64(len(values)) < end; {
		fetches := client.PollFetches(c.t.Context())
		require.NoError(c.t, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			n, err := strconv.Atoi(string(r.Value))
			require.NoError(c.t, err)
			values = append(values, n)
		})
	}
	return values
}

// firsts leaves out what is repeated.
func firsts(values []int) []int {
	var first []int
	seen := map[int]bool{}
	for _, n := range values {
		if !seen[n] {
			seen[n], first = true, append(first, n)
		}
	}
	return first
}

func upTo(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

func TestProducerAsksForTheAcknowledgementOfAllReplicas(t *testing.T) {
	for leaderOnly, want := range map[bool]int16{false: -1, true: 1} {
		c := startThree(t)
		var acks atomic.Int32
		c.ControlKey(kmsg.Produce.Int16(), func(request kmsg.Request) (kmsg.Response, error, bool) {
			acks.Store(int32(request.(*kmsg.ProduceRequest).Acks))
			return nil, nil, false
		})
		p := NewProducer(ProducerConfig{Brokers: c.ListenAddrs(), ClientID: "test", LeaderOnly: leaderOnly})
		defer p.Close()
		require.NoError(t, p.ProduceOne(t.Context(), message(0)))
		assert.Equal(t, want, int16(acks.Load()))
	}
}

// kafka-go #1221: what a broker answers does not make it look for another.
func TestProducerFollowsALeaderAtOnce(t *testing.T) {
	c := startThree(t)
	p := c.producer()
	const rounds = 6
	for i := range rounds {
		c.lead(int32(i % 3))
		failures := c.produce(p, i)
		require.LessOrEqual(t, len(failures), 1, "the second attempt knows the new leader: %v", failures)
		time.Sleep(refreshEvery) // moves are further apart than that
	}
	assert.Equal(t, upTo(rounds), c.log())
}

// A leader that is paused, and replaced, is among the brokers to ask who leads.
func TestProducerLeavesASilentLeader(t *testing.T) {
	c := startThree(t)
	p := c.producer()
	c.lead(0)
	require.Empty(t, c.produce(p, 0))
	c.nodes[0].pause()
	c.lead(1)
	began := time.Now()
	failures := c.produce(p, 1)
	t.Logf("acknowledged again after %v and %d failures", time.Since(began), len(failures))
	assert.Less(t, time.Since(began), produceTimeout*3)
	c.produce(p, 2)
	c.nodes[0].resume()
	assert.Equal(t, upTo(3), firsts(c.log()))
}

func TestProducerErrorsOfAFailoverAreTriedAgainInOrder(t *testing.T) {
	for _, err := range []*kerr.Error{
		kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend, kerr.NotLeaderForPartition, kerr.LeaderNotAvailable,
		kerr.RequestTimedOut, kerr.KafkaStorageError, kerr.FencedLeaderEpoch, kerr.UnknownTopicOrPartition,
	} {
		t.Run(err.Message, func(t *testing.T) {
			c := startThree(t)
			p := c.producer()
			require.Empty(t, c.produce(p, 0))
			c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: err, Count: 3})
			failures := c.produce(p, 1)
			require.Len(t, failures, 3)
			assert.ErrorIs(t, failures[0], kafka.Error(err.Code))
			require.Empty(t, c.produce(p, 2))
			assert.Equal(t, upTo(3), firsts(c.log()))
		})
	}
}

func TestProducerWaitsForALeader(t *testing.T) {
	c := startThree(t)
	p := c.producer()
	require.Empty(t, c.produce(p, 0))
	elected := time.Now().Add(time.Second)
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata, kmsg.Produce}, Err: kerr.LeaderNotAvailable, Count: -1,
		When: func(kmsg.Request) bool { return time.Now().Before(elected) }})
	failures := c.produce(p, 1)
	require.NotEmpty(t, failures)
	assert.Less(t, time.Since(elected), 2*metadataTTL)
	assert.Equal(t, upTo(2), firsts(c.log()))
}

func TestMisdirected(t *testing.T) {
	for err, want := range map[error]bool{
		kafka.NotLeaderForPartition: true, kafka.RequestTimedOut: true, context.DeadlineExceeded: true, net.ErrClosed: true,
		kafka.NotEnoughReplicas: false, kafka.NotEnoughReplicasAfterAppend: false, kafka.LeaderNotAvailable: false,
	} {
		assert.Equal(t, want, misdirected(fmt.Errorf("produce: %w", err)), "%v", err)
	}
}

// consuming is a consumer that notes what it handles.
type consuming struct {
	mu     sync.Mutex
	values []int
}

func (c *three) consume(brokers []string) *consuming {
	consumed := &consuming{}
	ctx, stop := context.WithCancel(context.Background())
	consumer := NewConsumer(ConsumerConfig{
		Brokers: brokers, ClientID: "test", Group: "readers", Topics: []string{topic}, SessionTimeout: time.Second,
		Handle: func(_ context.Context, r Record) error {
			consumed.mu.Lock()
			defer consumed.mu.Unlock()
			n, err := strconv.Atoi(string(r.Value))
			assert.NoError(c.t, err)
			consumed.values = append(consumed.values, n)
			return nil
		},
		Log: slog.New(slog.DiscardHandler),
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		consumer.Run(ctx)
	}()
	c.t.Cleanup(func() {
		stop()
		<-done
	})
	return consumed
}

// await waits until everything up to n was handled, and returns how long that took.
func (c *consuming) await(t *testing.T, n int) time.Duration {
	t.Helper()
	began := time.Now()
	require.Eventually(t, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(firsts(c.values)) >= n
	}, patience, 5*time.Millisecond)
	c.mu.Lock()
	defer c.mu.Unlock()
	require.Equal(t, upTo(n), firsts(c.values))
	return time.Since(began)
}

func TestConsumerFollowsALeader(t *testing.T) {
	c := startThree(t)
	p := c.producer()
	consumed := c.consume(c.ListenAddrs())
	c.produce(p, 0)
	consumed.await(t, 1)
	for i := range 6 {
		c.lead(int32(i % 3))
		c.produce(p, i+1)
		assert.Less(t, consumed.await(t, i+2), time.Second)
	}
}

// The broker that is asked first takes connections and never answers.
func TestConsumerIsNotHeldUpByASilentBroker(t *testing.T) {
	c := startThree(t)
	coordinator := c.CoordinatorFor("readers")
	c.lead(coordinator)
	silent := (coordinator + 1) % 3
	brokers := c.ListenAddrs()
	brokers[1], brokers[silent] = brokers[silent], brokers[1]
	p := c.producer()
	c.produce(p, 0)
	c.nodes[silent].pause()
	consumed := c.consume(brokers)
	t.Logf("first record after %v", consumed.await(t, 1))
}

// A leader that was cut off and replaced believes that it leads, and has nothing new.
func TestConsumerLeavesALeaderThatStillBelieves(t *testing.T) {
	c := startThree(t)
	p := c.producer()
	c.lead(0)
	consumed := c.consume(c.ListenAddrs())
	c.produce(p, 0)
	consumed.await(t, 1)
	c.on(kmsg.Fetch, 0, func(request kmsg.Request) (kmsg.Response, bool) {
		response := request.ResponseKind().(*kmsg.FetchResponse)
		for _, asked := range request.(*kmsg.FetchRequest).Topics {
			nothing := kmsg.NewFetchResponseTopicPartition()
			nothing.HighWatermark, nothing.RecordBatches = 1, []byte{}
			response.Topics = append(response.Topics, kmsg.FetchResponseTopic{
				Topic: asked.Topic, TopicID: asked.TopicID, Partitions: []kmsg.FetchResponseTopicPartition{nothing},
			})
		}
		return response, true
	})
	c.lead(1)
	c.produce(p, 1)
	took := consumed.await(t, 2)
	t.Logf("the next record after %v", took)
	assert.Greater(t, took, leaderAge/2, "the old leader went on answering")
	assert.Less(t, took, 2*leaderAge)
}

func TestConsumerSurvivesItsCoordinator(t *testing.T) {
	for _, fault := range []kfake.Fault{
		{Keys: []kmsg.Key{kmsg.FindCoordinator}, Err: kerr.CoordinatorNotAvailable, Count: 5},
		{Keys: []kmsg.Key{kmsg.JoinGroup}, Err: kerr.CoordinatorNotAvailable, Count: 3},
		{Keys: []kmsg.Key{kmsg.JoinGroup, kmsg.SyncGroup}, Err: kerr.NotCoordinator, Count: 3},
		{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.NotCoordinator, Count: 2},
		{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.NotCoordinator, Count: 10},
	} {
		t.Run(fmt.Sprintf("%v %s", fault.Keys[0].Name(), fault.Err.Message), func(t *testing.T) {
			t.Parallel()
			c := startThree(t)
			faults := c.Fault(fault)
			p := c.producer()
			consumed := c.consume(c.ListenAddrs())
			for i := range 10 {
				c.produce(p, i)
				time.Sleep(50 * time.Millisecond)
			}
			consumed.await(t, 10)
			require.Eventually(t, func() bool { return faults.Hits() == fault.Count }, patience, 5*time.Millisecond, "the fault was met %d times", faults.Hits())
			require.Eventually(t, func() bool { return c.committed() == 10 }, patience, 10*time.Millisecond, "everything is committed")
		})
	}
}

// committed is the group's offset.
func (c *three) committed() int64 {
	info := c.GroupInfo("readers")
	if info == nil {
		return -1
	}
	commit, ok := info.Commits[topic][0]
	if !ok {
		return -1
	}
	return commit.Offset
}

func TestConsumerFollowsItsCoordinator(t *testing.T) {
	c := startThree(t)
	p := c.producer()
	consumed := c.consume(c.ListenAddrs())
	for i := range 4 {
		before := c.CoordinatorFor("readers")
		for range 50 {
			if c.RehashCoordinators(); c.CoordinatorFor("readers") != before {
				break
			}
		}
		c.produce(p, i)
		consumed.await(t, i+1)
		require.Eventually(t, func() bool { return c.committed() == int64(i+1) }, patience, 5*time.Millisecond, "the next coordinator is found")
	}
}
