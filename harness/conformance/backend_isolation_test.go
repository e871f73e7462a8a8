package conformance_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ordeal-chaos/ordeal/harness/stack"
)

// litter leaves behind all that a careless client can: rows, one of them locked, records, committed offsets,
// a member that is gone and not missed yet, and an open transaction.
func (u *used) litter(t *testing.T) {
	t.Helper()
	ctx := within(t, time.Minute)
	insert(t, u.connect(t), 1)
	locking := u.connect(t)
	_, err := locking.Exec(ctx, "BEGIN; INSERT INTO items VALUES (2, 'open')")
	require.NoError(t, err)
	publish(t, u.kafka(t), "orders", "o-1")

	// A static member does not leave when it ends.
	member := u.kafka(t, kgo.ConsumerGroup("group"), kgo.InstanceID("member"), kgo.ConsumeTopics("orders"),
		kgo.SessionTimeout(time.Minute), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
	for {
		fetches := member.PollFetches(ctx)
		require.NoError(t, fetches.Err0())
		if fetches.NumRecords() > 0 {
			break
		}
	}
	require.NoError(t, member.CommitUncommittedOffsets(ctx))
	member.Close()

	producer := u.kafka(t, kgo.TransactionalID("transaction"), kgo.TransactionTimeout(time.Minute))
	require.NoError(t, producer.BeginTransaction())
	publish(t, producer, "stock", "open")
	producer.Close()
}

// isFresh says whether there is anything that New did not make.
func (u *used) isFresh(t *testing.T) {
	t.Helper()
	ctx := within(t, time.Minute)
	conn := u.connect(t)
	assert.Empty(t, query[int](t, conn, "SELECT id FROM items"))
	assert.Empty(t, query[string](t, conn, `SELECT xid::text FROM pg_logical_slot_peek_binary_changes($1, NULL, NULL,
		'proto_version', '1', 'publication_names', $2)`, stack.SlotName("shop"), stack.Publication), "the slot begins with the first row")

	client := u.kafka(t)
	administrator := kadm.NewClient(client)
	listed, err := administrator.ListTopics(ctx)
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{"orders", "stock"}, listed.Names())
	for _, topic := range topics {
		for partition, end := range u.ends(t, client, topic.Name) {
			assert.Zero(t, end, "%s/%d", topic.Name, partition)
		}
	}
	groups, err := administrator.ListGroups(ctx)
	require.NoError(t, err)
	assert.Empty(t, groups.Groups())
	offsets, err := administrator.FetchOffsets(ctx, "group")
	if err != nil {
		assert.ErrorIs(t, err, kerr.GroupIDNotFound)
	}
	assert.Empty(t, offsets)
	transactions, err := administrator.ListTransactions(ctx, nil, nil)
	require.NoError(t, err)
	assert.Empty(t, transactions.TransactionalIDs())
	for _, server := range u.servers() {
		assert.Equal(t, []string{"started", "ready"}, u.lived(server.name), "whatever it did before")
	}
	assert.Empty(t, u.UnexpectedExits())
}

func environmentsAtOnce(t *testing.T, s *suite) {
	one, two := s.start(t, 0), s.start(t, 0)
	for i, server := range one.servers() {
		assert.NotEqual(t, server.addr, two.servers()[i].addr)
	}
	one.litter(t)
	two.isFresh(t)
	require.NoError(t, one.postgres().Kill(within(t, patience)))
	require.NoError(t, one.Brokers()[0].Pause(within(t, patience)))
	two.litter(t)
	require.NoError(t, one.Close(t.Context()))
	assert.Equal(t, []int{1}, two.items(t))
	assert.Equal(t, []string{"o-1"}, two.published(t, "orders"))
}

// environmentsInTurn: an environment finds nothing of the one before, in whatever state that ended, and its
// names can be used again at once.
func environmentsInTurn(t *testing.T, s *suite) {
	e := s.start(t, 0)
	for what, spoil := range map[string]func(context.Context, stack.Node) error{
		"littered": func(context.Context, stack.Node) error { return nil },
		"killed":   func(ctx context.Context, n stack.Node) error { return n.Kill(ctx) },
		"paused":   func(ctx context.Context, n stack.Node) error { return n.Pause(ctx) },
	} {
		began := time.Now()
		e.litter(t)
		assert.Less(t, time.Since(began), 15*time.Second, "nothing of another environment is waited for")
		assert.NoError(t, spoil(within(t, patience), e.Brokers()[0]))
		assert.NoError(t, spoil(within(t, patience), e.postgres()))
		require.NoError(t, e.Close(t.Context()), what)
		e = s.start(t, 0)
		e.isFresh(t)
	}
}
