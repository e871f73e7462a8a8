package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ordeal-chaos/ordeal/harness/link"
	"github.com/ordeal-chaos/ordeal/harness/stack"
)

// threeBrokers uses one cluster for all that needs several brokers: starting one takes long.
func threeBrokers(t *testing.T, s *suite) {
	e := s.start(t, brokers)
	require.Len(t, e.Brokers(), brokers)
	for i, broker := range e.Brokers() {
		assert.Equal(t, fmt.Sprint("kafka-", i+1), broker.Name())
	}
	t.Run("name only links", func(t *testing.T) { namesOnlyLinks(t, e) })
	t.Run("keep their data when all end", func(t *testing.T) { clusterRestarts(t, e) })
	if !s.Capabilities().BrokersApart {
		t.Run("are one process", func(t *testing.T) { oneProcess(t, e) })
		return
	}
	t.Run("live on when one dies", func(t *testing.T) { oneDies(t, e) })
	t.Run("live on when one is cut off", func(t *testing.T) { oneIsIsolated(t, e) })
	t.Run("begin anew when one stayed cut off", func(t *testing.T) {
		e.litter(t)
		require.NoError(t, e.Isolate(within(t, patience), "kafka-2"))
		require.NoError(t, e.Close(t.Context()))
		next := s.start(t, brokers)
		next.isFresh(t)
		publish(t, next.kafka(t), "orders", "o-1")
		for _, broker := range next.Brokers() {
			require.Eventually(t, func() bool { return len(next.view(t, broker).inSync) == brokers }, 30*time.Second, 20*time.Millisecond)
		}
	})
}

// namesOnlyLinks: behind links clients hear of links, and elsewhere of addresses that lead nowhere.
func namesOnlyLinks(t *testing.T, e *used) {
	own, addresses := map[int32]*link.Link{}, []string{}
	for i, broker := range e.Brokers() {
		l := e.servers()[len(e.PostgresServers())+i].link(t, e.Environment, func(node int32) (string, bool) {
			l, ok := own[node] // all are open before any client connects
			if !ok {
				return "", false
			}
			return l.Addr(), true
		})
		own[broker.NodeID()] = l
		addresses = append(addresses, l.Addr())
	}
	for _, l := range own {
		client, err := kgo.NewClient(kgo.SeedBrokers(l.Addr()), kgo.DisableClientMetrics())
		require.NoError(t, err)
		assert.ElementsMatch(t, addresses, named(t, client), l.Name())
		publish(t, client, "orders", "through "+l.Name())
		client.Close()
	}

	for _, dead := range named(t, e.kafka(t)) {
		assert.NotContains(t, e.seeds(), dead)
		began := time.Now()
		conn, err := (&net.Dialer{Timeout: patience}).Dial("tcp", dead)
		if !assert.ErrorIs(t, err, syscall.ECONNREFUSED, dead) {
			_ = conn.Close()
		}
		assert.Less(t, time.Since(began), time.Second)
	}
	// A client that knows a broker's own address comes no further.
	client, err := kgo.NewClient(kgo.SeedBrokers(e.seeds()...), kgo.DisableClientMetrics(), kgo.RecordDeliveryTimeout(time.Second))
	require.NoError(t, err)
	defer client.Close()
	err = client.ProduceSync(within(t, 3*time.Second), &kgo.Record{Topic: "orders", Value: []byte("past the links")}).FirstErr()
	assert.Error(t, err)
}

// named are the addresses of brokers in all answers that name any.
func named(t *testing.T, client *kgo.Client) []string {
	t.Helper()
	ctx := within(t, patience)
	found := map[string]bool{}
	add := func(host string, port int32) { found[net.JoinHostPort(host, strconv.Itoa(int(port)))] = true }
	metadata, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, client)
	require.NoError(t, err)
	for _, b := range metadata.Brokers {
		add(b.Host, b.Port)
	}
	cluster, err := kmsg.NewPtrDescribeClusterRequest().RequestWith(ctx, client)
	require.NoError(t, err)
	for _, b := range cluster.Brokers {
		add(b.Host, b.Port)
	}
	for i := range 10 {
		find := kmsg.NewPtrFindCoordinatorRequest()
		find.CoordinatorKeys = []string{fmt.Sprint("group-", i)}
		found, err := find.RequestWith(ctx, client)
		require.NoError(t, err)
		for _, c := range found.Coordinators {
			require.Zero(t, c.ErrorCode)
			add(c.Host, c.Port)
		}
	}
	var all []string
	for address := range found {
		all = append(all, address)
	}
	return all
}

// processes are the brokers' processes: one on some backends.
func (u *used) processes() []stack.Node {
	var nodes []stack.Node
	for _, broker := range u.Brokers() {
		if !slices.Contains(nodes, broker.Node) {
			nodes = append(nodes, broker.Node)
		}
	}
	return nodes
}

func clusterRestarts(t *testing.T, e *used) {
	client := e.kafka(t)
	before, seeds := e.published(t, "orders"), e.seeds()
	ctx := within(t, 2*time.Minute)
	for i, end := range []func(stack.Node) error{
		func(n stack.Node) error { return n.Kill(ctx) },
		func(n stack.Node) error { return n.Terminate(ctx) },
	} {
		var values []string
		for n := range 30 {
			values = append(values, fmt.Sprintf("restart-%d-%02d", i, n))
		}
		publish(t, client, "orders", values...)
		before = append(before, values...)
		slices.Sort(before)
		err := all(e.processes(), end)
		if !errors.Is(err, stack.ErrOutlived) { // as the last ones of a cluster do, which find no quorum to take leave of
			require.NoError(t, err)
		}
		for _, broker := range e.Brokers() {
			assert.False(t, broker.Alive())
		}
		require.NoError(t, all(e.processes(), func(n stack.Node) error { return n.Start(ctx) }))
		assert.Equal(t, seeds, e.seeds())
		assert.Equal(t, before, e.published(t, "orders"))
	}
}

// oneProcess: what happens to one broker happens to all, and the history says so.
func oneProcess(t *testing.T, e *used) {
	assert.ErrorIs(t, e.Isolate(t.Context(), "kafka-2"), stack.ErrNotApart)
	assert.ErrorIs(t, e.Rejoin(t.Context(), "kafka-2"), stack.ErrNotApart)
	require.NoError(t, e.Brokers()[1].Kill(within(t, patience)))
	for _, broker := range e.Brokers() {
		assert.False(t, broker.Alive())
		states := e.lived(broker.Name())
		assert.Equal(t, "exited killed", states[len(states)-1], broker.Name())
	}
}

// view is what one broker knows of partition 0 of topic stock.
type view struct {
	leader *stack.Broker // nil when there is none
	inSync []int32
}

// view asks a broker; one that cannot tell sees nothing.
func (u *used) view(t *testing.T, asked *stack.Broker) (v view) {
	t.Helper()
	client := u.kafka(t, kgo.SeedBrokers(asked.Addr()), kgo.RequestRetries(0))
	defer client.Close()
	request := kmsg.NewPtrMetadataRequest()
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = kmsg.StringPtr("stock")
	request.Topics = append(request.Topics, topic)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	response, err := client.SeedBrokers()[0].Request(ctx, request)
	if err != nil {
		return v
	}
	for _, topic := range response.(*kmsg.MetadataResponse).Topics {
		for _, p := range topic.Partitions {
			v.inSync = p.ISR
			for _, broker := range u.Brokers() {
				if broker.NodeID() == p.Leader {
					v.leader = broker
				}
			}
		}
	}
	return v
}

// whole waits until all brokers agree on one leader, with all replicas in sync, and returns it.
func (u *used) whole(t *testing.T) (leader *stack.Broker) {
	t.Helper()
	require.Eventually(t, func() bool {
		leader = u.view(t, u.Brokers()[0]).leader
		for _, broker := range u.Brokers() {
			if v := u.view(t, broker); v.leader == nil || v.leader != leader || len(v.inSync) != brokers {
				return false
			}
		}
		return true
	}, 40*time.Second, 20*time.Millisecond, "the cluster is whole")
	return leader
}

func (u *used) others(but *stack.Broker) []*stack.Broker {
	return slices.DeleteFunc(u.Brokers(), func(b *stack.Broker) bool { return b == but })
}

// movesFrom waits until the others follow another leader.
func (u *used) movesFrom(t *testing.T, leader *stack.Broker) {
	t.Helper()
	began := time.Now()
	for _, broker := range u.others(leader) {
		require.Eventually(t, func() bool {
			next := u.view(t, broker).leader
			return next != nil && next != leader
		}, 40*time.Second, 20*time.Millisecond, "leadership moves")
	}
	t.Logf("another leader after %s", time.Since(began).Round(time.Millisecond))
}

func oneDies(t *testing.T, e *used) {
	leader := e.whole(t)
	exits := map[string]int{}
	for _, broker := range e.Brokers() {
		exits[broker.Name()] = len(e.lived(broker.Name()))
	}
	require.NoError(t, leader.Kill(within(t, patience)))
	for _, broker := range e.others(leader) {
		assert.True(t, broker.Alive())
	}
	e.movesFrom(t, leader)
	publish(t, e.kafka(t), "stock", "one is dead")
	require.NoError(t, leader.Start(within(t, time.Minute)))
	for _, broker := range e.Brokers() {
		var want []string
		if broker == leader {
			want = []string{"exited killed", "started", "ready"}
		}
		assert.ElementsMatch(t, want, e.lived(broker.Name())[exits[broker.Name()]:], broker.Name())
	}
	e.whole(t)
	assert.Equal(t, []string{"one is dead"}, e.published(t, "stock"))
}

func oneIsIsolated(t *testing.T, e *used) {
	leader := e.whole(t)
	require.NoError(t, e.Isolate(within(t, patience), leader.Name()))
	require.NoError(t, e.Isolate(within(t, patience), leader.Name()), "again is no error")
	e.movesFrom(t, leader)
	publish(t, e.kafka(t, kgo.SeedBrokers(e.others(leader)[0].Addr())), "stock", "one is cut off")
	assert.Equal(t, leader, e.view(t, leader).leader, "clients reach it, and it knows nothing of the new leader")
	assert.True(t, leader.Alive())
	states := e.lived(leader.Name())

	require.NoError(t, e.Rejoin(within(t, patience), leader.Name()))
	require.NoError(t, e.Rejoin(within(t, patience), leader.Name()), "again is no error")
	assert.NotEqual(t, leader, e.whole(t), "the old leader follows the new one")
	assert.Equal(t, []string{"one is cut off", "one is dead"}, e.published(t, "stock"))
	assert.Equal(t, states, e.lived(leader.Name()), "its process lived on")
	for _, broker := range e.Brokers() {
		strangers, err := broker.Strangers()
		require.NoError(t, err)
		assert.Empty(t, strangers, "other brokers are none")
	}
	assert.ErrorContains(t, e.Isolate(t.Context(), "kafka-9"), "no such broker")
}
