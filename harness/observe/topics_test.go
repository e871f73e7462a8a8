package observe

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/loopback"
)

// brokers is an embedded broker with its data on disk, so that it can be started again.
type brokers struct {
	cluster *kfake.Cluster
	options []kfake.Opt
}

func startBrokers(t testing.TB) *brokers {
	ports := []int{reservePort(t), reservePort(t)}
	b := &brokers{options: []kfake.Opt{kfake.Ports(ports...), kfake.DataDir(t.TempDir()), kfake.SyncWrites(), kfake.SeedTopics(3, "orders", "stock")}}
	b.start(t)
	t.Cleanup(func() { b.cluster.Close() })
	return b
}

func (b *brokers) start(t testing.TB) {
	cluster, err := kfake.NewCluster(b.options...)
	require.NoError(t, err)
	b.cluster = cluster
}

func (b *brokers) client(t testing.TB, options ...kgo.Opt) *kgo.Client {
	client, err := kgo.NewClient(append(kafkaOptions(b.cluster.ListenAddrs(), nil), append(options, kgo.RecordPartitioner(kgo.ManualPartitioner()))...)...)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

func (b *brokers) tap(t testing.TB, j *journal) *Topics {
	tap, err := TapTopics(within(t, patience), TopicConfig{Brokers: b.cluster.ListenAddrs(), Topics: []string{"orders", "stock"}, Recorder: j.Recorder})
	require.NoError(t, err)
	t.Cleanup(func() { _ = tap.Close() })
	return tap
}

func produce(t testing.TB, client *kgo.Client, records ...*kgo.Record) {
	t.Helper()
	require.NoError(t, client.ProduceSync(within(t, patience), records...).FirstErr())
}

func record(partition int32, value string) *kgo.Record {
	return &kgo.Record{Topic: "orders", Partition: partition, Key: []byte("k"), Value: []byte(value)}
}

// transact produces one record in a transaction, and ends it.
func transact(t testing.TB, client *kgo.Client, commit kgo.TransactionEndTry, r *kgo.Record) {
	t.Helper()
	require.NoError(t, client.BeginTransaction())
	produce(t, client, r)
	require.NoError(t, client.EndTransaction(within(t, patience), commit))
}

func (j *journal) records(t testing.TB) []history.Record {
	var records []history.Record
	for _, e := range j.events(t) {
		if e.Record != nil {
			records = append(records, *e.Record)
		}
	}
	return records
}

func TestTopicsRecordsEveryRecord(t *testing.T) {
	b, j := startBrokers(t), newJournal(t)
	client := b.client(t)
	produce(t, client, record(0, "before the tap"))
	var dialer loopback.Ports
	var live []history.Record
	tap, err := TapTopics(within(t, patience), TopicConfig{
		Brokers: b.cluster.ListenAddrs(), Topics: []string{"orders", "stock"}, Recorder: j.Recorder, Dial: dialer.Dial,
		OnRecord: func(r history.Record) { live = append(live, r) },
	})
	require.NoError(t, err)
	defer tap.Close()
	marked := record(0, "poison")
	marked.Value = []byte{0xff}
	marked.Headers = []kgo.RecordHeader{{Key: "event_id", Value: []byte("e")}, {Key: InjectedHeader, Value: []byte("1")}}
	produce(t, client, marked)
	produce(t, client, &kgo.Record{Topic: "stock", Partition: 2})
	require.NoError(t, tap.CatchUp(within(t, patience)))
	require.NoError(t, tap.Close())
	assert.ElementsMatch(t, []history.Record{
		{Topic: "orders", Key: history.Bytes("k"), Value: history.Bytes("before the tap")},
		{Topic: "orders", Offset: 1, Key: history.Bytes("k"), Value: history.Bytes{0xff}, Headers: map[string]string{"event_id": "e", InjectedHeader: "1"}, Injected: true},
		{Topic: "stock", Partition: 2},
	}, live)
	assert.Equal(t, live, j.records(t))
	assert.NotEmpty(t, dialer.All())
}

func TestTopicsVerify(t *testing.T) {
	b, j := startBrokers(t), newJournal(t)
	tap := b.tap(t, j)
	plain := b.client(t)
	transactional := b.client(t, kgo.TransactionalID("x"))
	produce(t, plain, record(0, "0"), record(0, "1"))
	transact(t, transactional, kgo.TryAbort, record(0, "2 aborted")) // its marker is offset 3
	transact(t, transactional, kgo.TryCommit, record(0, "4"))        // its marker is offset 5
	produce(t, plain, record(1, "0"))
	transact(t, transactional, kgo.TryAbort, record(1, "1 aborted"))
	transact(t, transactional, kgo.TryAbort, record(1, "3 aborted"))
	probes, err := tap.Verify(within(t, patience))
	require.NoError(t, err)
	named := byName(probes)
	require.Len(t, named, 7)
	for subject, want := range map[string]history.Probe{
		"orders/0": {Numbers: map[string]int64{"start": 0, "high": 6, "stable": 6, "tapped": 4, "aborted": 1}, Detail: "aborted 2"},
		"orders/1": {Numbers: map[string]int64{"start": 0, "high": 5, "stable": 5, "tapped": 3, "aborted": 2}, Detail: "aborted 1,3"},
		"stock/2":  {Numbers: map[string]int64{"start": 0, "high": 0, "stable": 0, "tapped": 0, "aborted": 0}},
	} {
		want.Name, want.Subject, want.OK = history.ProbeTopic, subject, true
		assert.Equal(t, want, named["topic "+subject])
	}
	assert.Equal(t, history.Probe{Name: history.ProbeTap, Subject: "topics", OK: true, Numbers: map[string]int64{"records": 7, "aborted": 3}}, named["tap topics"])
	assert.EqualValues(t, 5, tap.VisibleEnd("orders", 0), "the commit marker is no record")
	assert.EqualValues(t, 1, tap.VisibleEnd("orders", 1), "aborted records are not shown")

	for wrong, damage := range map[string]func(*partition){
		"offset 1 is in the log and was not tapped": func(p *partition) { p.seen = append(p.seen[:1:1], p.seen[2:]...) },
		"offset 4 is in the log and was not tapped": func(p *partition) { p.seen = p.seen[:3] },
	} {
		tap.mu.Lock()
		whole := append([]sighting{}, tap.at("orders", 0).seen...)
		damage(tap.at("orders", 0))
		tap.mu.Unlock()
		probes, err := tap.Verify(within(t, patience))
		require.NoError(t, err)
		named := byName(probes)
		assert.False(t, named["topic orders/0"].OK)
		assert.Equal(t, "aborted 2; "+wrong, named["topic orders/0"].Detail)
		assert.Equal(t, "orders/0: "+wrong, named["tap topics"].Detail)
		assert.False(t, named["tap topics"].OK)
		tap.mu.Lock()
		tap.at("orders", 0).seen = whole
		tap.mu.Unlock()
	}
}

func TestTopicsWithAnOpenTransaction(t *testing.T) {
	b, j := startBrokers(t), newJournal(t)
	tap := b.tap(t, j)
	client := b.client(t, kgo.TransactionalID("x"))
	require.NoError(t, client.BeginTransaction())
	produce(t, client, record(0, "undecided"))
	ctx := within(t, patience)
	open, err := tap.Behind(ctx)
	require.NoError(t, err)
	assert.Equal(t, []string{"transaction open in orders/0"}, open)
	probes, err := tap.Verify(ctx)
	require.NoError(t, err)
	named := byName(probes)
	assert.Equal(t, map[string]int64{"start": 0, "high": 1, "stable": 0, "tapped": 1, "aborted": 0}, named["topic orders/0"].Numbers)
	assert.Equal(t, "orders/0: a transaction is open at offset 0", named["tap topics"].Detail)
	require.NoError(t, client.EndTransaction(ctx, kgo.TryCommit))
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		open, err := tap.Behind(ctx)
		assert.NoError(c, err)
		assert.Empty(c, open)
	}, patience, 10*time.Millisecond)
	assert.EqualValues(t, 1, tap.VisibleEnd("orders", 0))
}

func TestTopicsSurviveRestarts(t *testing.T) {
	b, j := startBrokers(t), newJournal(t)
	tap := b.tap(t, j)
	client := b.client(t)
	const each = 500
	for round := range 3 {
		for i := range each {
			produce(t, client, record(int32(i%3), fmt.Sprint(round*each+i)))
		}
		b.cluster.Close()
		err := tap.CatchUp(within(t, 200*time.Millisecond))
		require.ErrorContains(t, err, "read ends of topics")
		b.start(t)
	}
	probes, err := tap.Verify(within(t, patience))
	require.NoError(t, err)
	assert.True(t, byName(probes)["tap topics"].OK, "%+v", probes)
	require.NoError(t, tap.Close())
	seen := make(map[string]int)
	next := make(map[int32]int64)
	for _, record := range j.records(t) {
		seen[string(record.Value)]++
		require.Equal(t, next[record.Partition], record.Offset)
		next[record.Partition]++
	}
	require.Len(t, seen, 3*each)
}

func TestTapTopicsNeedsItsTopics(t *testing.T) {
	b, j := startBrokers(t), newJournal(t)
	_, err := TapTopics(within(t, patience), TopicConfig{Brokers: b.cluster.ListenAddrs(), Topics: []string{"none"}, Recorder: j.Recorder})
	require.ErrorContains(t, err, "tap topics")
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	_, err = TapTopics(ctx, TopicConfig{Brokers: []string{fmt.Sprintf("127.0.0.1:%d", reservePort(t))}, Topics: []string{"orders"}, Recorder: j.Recorder})
	require.ErrorContains(t, err, "tap topics")
}

func TestPartitionTakesNothingTwice(t *testing.T) {
	p := partition{next: 5, open: map[int64]int64{}}
	assert.False(t, p.take(&kgo.Record{Offset: 4}), "read again after a broker was lost")
	assert.True(t, p.take(&kgo.Record{Offset: 5}))
	assert.False(t, p.take(&kgo.Record{Offset: 5}))
	assert.EqualValues(t, 6, p.next)
	assert.Len(t, p.seen, 1)
}

func TestGroups(t *testing.T) {
	b, j := startBrokers(t), newJournal(t)
	tap := b.tap(t, j)
	producer := b.client(t)
	transactional := b.client(t, kgo.TransactionalID("x"))
	produce(t, producer, record(0, "0"), record(0, "1"), record(1, "0"))
	transact(t, transactional, kgo.TryAbort, record(1, "aborted"))
	groups := []Group{{Name: "readers", Topics: []string{"orders"}}}
	ctx := within(t, patience)
	require.NoError(t, tap.CatchUp(ctx))

	lags, err := tap.Groups(ctx, groups)
	require.NoError(t, err)
	require.Len(t, lags, 3)
	assert.Equal(t, GroupLag{Group: "readers", Topic: "orders", Committed: -1, End: 2, State: "Dead"}, lags[0])
	open, err := tap.Unconsumed(groups)(ctx)
	require.NoError(t, err)
	assert.Equal(t, []string{"group readers is at offset 0 of 2 in orders/0", "group readers is at offset 0 of 1 in orders/1"}, open)

	member := b.client(t, kgo.ConsumerGroup("readers"), kgo.ConsumeTopics("orders"), kgo.DisableAutoCommit(), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	for n := 0; n < 3; {
		fetches := member.PollFetches(ctx)
		require.NoError(t, fetches.Err())
		n += fetches.NumRecords()
	}
	require.NoError(t, member.CommitUncommittedOffsets(ctx))
	lags, err = tap.Groups(ctx, groups)
	require.NoError(t, err)
	assert.Equal(t, GroupLag{Group: "readers", Topic: "orders", Committed: 2, End: 2, Members: 1, State: "Stable"}, lags[0])
	assert.True(t, lags[0].Probe().OK)
	assert.Equal(t, int64(1), lags[1].Committed)
	assert.Equal(t, int64(3), lags[1].End, "an aborted record and its marker follow")
	assert.Equal(t, history.Probe{
		Name: history.ProbeGroup, Subject: "readers/orders/1", Detail: "Stable",
		Numbers: map[string]int64{"committed": 1, "end": 3, "members": 1},
	}, lags[1].Probe())
	assert.True(t, lags[2].Done(lags[2].End), "an empty partition needs no commit")
	open, err = tap.Unconsumed(groups)(ctx)
	require.NoError(t, err)
	assert.Empty(t, open, "what read_committed does not show is not waited for")
}
