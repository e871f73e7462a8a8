package conformance_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/link"
	"github.com/ordeal-chaos/ordeal/harness/stack"
	"github.com/ordeal-chaos/ordeal/harness/wire"
)

const (
	brokers    = 3
	partitions = 6
)

// stage is one environment, which all clients share.
type stage struct {
	environment *stack.Environment
	observer    *kgo.Client // connects past all links

	mu    sync.Mutex
	links map[string][]*link.Link // by broker
}

func newStage(t *testing.T, backend stack.Backend) *stage {
	options := stack.Options{Dir: t.TempDir(), Brokers: brokers}
	for _, l := range libraries {
		for _, what := range append([]string{"transactions", "codecs"}, l.protocols...) {
			options.Topics = append(options.Topics, stack.Topic{Name: l.name + "-" + what, Partitions: partitions})
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	environment, err := backend.New(ctx, options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, environment.Close(context.Background())) })
	s := &stage{environment: environment, links: map[string][]*link.Link{}}
	require.Len(t, environment.Brokers(), brokers)
	s.observer = s.observe(t)
	return s
}

// observe returns a client that connects past all links and reads the topics from their start.
func (s *stage) observe(t *testing.T, topics ...string) *kgo.Client {
	t.Helper()
	var seeds []string
	for _, broker := range s.environment.Brokers() {
		seeds = append(seeds, broker.Addr())
	}
	observer, err := kgo.NewClient(kgo.SeedBrokers(seeds...), kgo.Dialer(s.environment.KafkaDialer()),
		kgo.ConsumeTopics(topics...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableClientMetrics())
	require.NoError(t, err)
	t.Cleanup(observer.Close)
	return observer
}

// assigned returns how many partitions each member of a group has, most first, or nil while the group is
// not stable.
func (s *stage) assigned(ctx context.Context, group, protocol string) ([]int, error) {
	adm := kadm.NewClient(s.observer)
	var sizes []int
	if protocol == nextGen {
		described, err := adm.DescribeConsumerGroups(ctx, group)
		if err == nil {
			err = described.Error()
		}
		if err != nil || described[group].State != "Stable" {
			return nil, err
		}
		for _, m := range described[group].Members {
			count := 0
			for _, topic := range m.Assignment {
				count += len(topic)
			}
			sizes = append(sizes, count)
		}
	} else {
		described, err := adm.DescribeGroups(ctx, group)
		if err == nil {
			err = described.Error()
		}
		if err != nil || described[group].State != "Stable" {
			return nil, err
		}
		for _, m := range described[group].Members {
			count := 0
			if assignment, ok := m.Assigned.AsConsumer(); ok {
				for _, topic := range assignment.Topics {
					count += len(topic.Partitions)
				}
			}
			sizes = append(sizes, count)
		}
	}
	slices.Sort(sizes)
	slices.Reverse(sizes)
	return sizes, nil
}

// user opens one client's links, one to each broker, as the harness does for a replica of a service.
func (s *stage) user(t *testing.T, name string) *user {
	u := &user{stage: s, name: name}
	topics := new(wire.Topics)
	own := make(map[int32]*link.Link)
	for _, broker := range s.environment.Brokers() {
		opened, err := link.Open(link.Config{
			Name: name + "->" + broker.Name(), Protocol: wire.Kafka, Upstream: broker.Addr(), Topics: topics, Record: u.record,
			// Called once a client has connected: by then all links are open.
			Broker: func(node int32) (string, bool) {
				to, ok := own[node]
				if !ok {
					return "", false
				}
				return to.Addr(), true
			},
		})
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, opened.Close()) })
		own[broker.NodeID()] = opened
		u.links = append(u.links, opened)
		u.windows = append(u.windows, opened.Watch())
		s.mu.Lock()
		s.links[broker.Name()] = append(s.links[broker.Name()], opened)
		s.mu.Unlock()
	}
	return u
}

// nobodyWalkedRound proves that the brokers accepted the connections of links and observers and no others,
// port by port, and that all of the links' arrived.
func (s *stage) nobodyWalkedRound(t *testing.T) {
	for _, broker := range s.environment.Brokers() {
		assert.Empty(t, walkedRound(t, s.environment, broker, s.links[broker.Name()]), broker.Name())
	}
}

// accepting is a server that tells which connections it accepted.
type accepting interface {
	Name() string
	Addr() string
	Peers() ([]int, error)
	Strangers() ([]string, error)
	PeersExact() bool
}

// walkedRound lists the connections that a server accepted and neither a link nor an observer made. All that
// links made must have arrived.
func walkedRound(t *testing.T, e *stack.Environment, server accepting, links []*link.Link) []string {
	t.Helper()
	peers, err := server.Peers()
	require.NoError(t, err)
	found, err := server.Strangers()
	require.NoError(t, err)
	accepted := map[int]int{}
	for _, port := range peers {
		accepted[port]++
	}
	byLinks, byAddress := map[int]int{}, 0
	for _, l := range links {
		for _, port := range l.Ports() {
			byLinks[port] += l.Uses(port)
		}
		byAddress += l.Dials(server.Addr())
	}
	assert.NotEmpty(t, byLinks)
	if !server.PeersExact() { // a proxy hides the ports, but not how many connections there were
		assert.GreaterOrEqual(t, len(peers), byAddress, server.Name())
		for range len(peers) - byAddress - e.Observers().Dials(server.Addr()) {
			found = append(found, "a connection too many")
		}
		return found
	}
	for port, count := range byLinks {
		assert.GreaterOrEqual(t, accepted[port], count, "%s did not accept what a link dialled from port %d", server.Name(), port)
	}
	for port, count := range accepted {
		for range count - byLinks[port] - e.Observers().Uses(port) {
			found = append(found, fmt.Sprintf("port %d", port))
		}
	}
	return found
}

// user is one client and its links.
type user struct {
	stage   *stage
	name    string
	client  client
	links   []*link.Link
	windows []*link.Window
	sent    []record // acknowledged by brokers
	got     []record // received by members of groups
	ends    int      // of transactions

	mu     sync.Mutex
	events []history.Wire
}

func (u *user) record(w history.Wire) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.events = append(u.events, w)
}

func (u *user) addresses() []string {
	var all []string
	for _, l := range u.links {
		all = append(all, l.Addr())
	}
	return all
}

// usedItsLinks proves that the client tried to connect to its links and to nothing else, and that each link
// carried its traffic both ways.
func (u *user) usedItsLinks(t *testing.T) {
	dialled := map[string]int64{}
	for _, address := range u.client.dialled() {
		dialled[address]++
	}
	for i, l := range u.links {
		m := u.windows[i].Measure()
		assert.Positive(t, m.Opened, l.Name())
		// A connection may be given up before it is made.
		assert.LessOrEqual(t, m.Opened, dialled[l.Addr()], "%s was also dialled by another", l.Name())
		assert.Positive(t, m.Request.Delivered, l.Name())
		assert.Positive(t, m.Response.Delivered, l.Name())
		assert.Zero(t, m.DialFailed, l.Name())
		assert.Zero(t, m.Unread, "%s carried what the tap does not understand", l.Name())
	}
	assert.ElementsMatch(t, u.addresses(), slices.Collect(maps.Keys(dialled)))
}

// wasUnderstood compares what the tap saw with what the client says it sent and got.
func (u *user) wasUnderstood(t *testing.T) {
	keys, acknowledged, fetched, ends := map[string]bool{}, map[string]bool{}, map[string]bool{}, 0
	for _, w := range u.events {
		request := w.Direction == history.Request
		switch {
		case w.Kind == "Produce" && request:
			for _, token := range w.Tokens {
				// The others are keys; this is the transactional id, which is a token too.
				if token != u.name+"-transactions" {
					keys[token] = true
				}
			}
		case w.Kind == "Produce":
			for _, r := range w.Records {
				acknowledged[r] = true
			}
		case w.Kind == "Fetch":
			for _, r := range w.Records {
				fetched[r] = true
			}
		case w.Kind == "EndTxn" && request:
			ends++
		}
	}
	sentKeys, sentNames, consumed := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, r := range u.sent {
		sentKeys[r.Key] = true
		sentNames[r.at()] = true
		if r.Topic != u.topic("admin") { // which nobody consumes
			consumed[r.at()] = true
		}
	}
	assert.Equal(t, sentKeys, keys, "keys in Produce requests")
	assert.Subset(t, sentNames, acknowledged, "first offsets in Produce responses")
	// A consumer that reads committed records is also sent the others.
	assert.Equal(t, consumed, fetched, "records in Fetch responses")
	for _, r := range u.got {
		assert.True(t, fetched[r.at()], "%s was received, and not seen", r.at())
	}
	assert.Equal(t, u.ends, ends, "ends of transactions")
}

// at is how the tap names the record.
func (r record) at() string { return fmt.Sprintf("%s/%d@%d", r.Topic, r.Partition, r.Offset) }
