package conformance_test

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/stack"
)

// restarts: servers come back under their addresses with all that they acknowledged, whatever ended them,
// a pause loses nothing, and the history tells the same on every backend.
func restarts(t *testing.T, s *suite) {
	e := s.start(t, 0)
	broker := e.Brokers()[0]
	before := e.servers()
	client := e.kafka(t)
	var want []string
	var rows []int
	use := func() {
		rows = append(rows, len(rows)+1)
		want = append(want, fmt.Sprint("o-", len(rows)))
		insert(t, e.connect(t), len(rows))
		publish(t, client, "orders", want[len(want)-1])
		assert.Equal(t, rows, e.items(t))
		assert.Equal(t, want, e.published(t, "orders"))
		for i, now := range e.servers() {
			assert.Equal(t, before[i].addr, now.addr)
		}
	}
	use()
	ctx := within(t, 2*time.Minute)
	both := []stack.Node{e.postgres(), broker}
	require.NoError(t, all(both, func(n stack.Node) error { return n.Kill(ctx) }))
	for _, node := range both {
		assert.False(t, node.Alive())
		assert.NoError(t, node.Kill(ctx), "one that does not run is no error")
		assert.NoError(t, node.Terminate(ctx))
		assert.Error(t, node.Pause(ctx))
		assert.Error(t, node.Resume(ctx))
	}
	for _, server := range before {
		began := time.Now()
		conn, err := e.ObserverDial(ctx, "tcp", server.addr)
		if !assert.ErrorIs(t, err, syscall.ECONNREFUSED, server.name) {
			_ = conn.Close()
		}
		assert.Less(t, time.Since(began), time.Second, "an observer need not wait to learn that a server is down")
	}
	require.NoError(t, all(both, func(n stack.Node) error { return n.Start(ctx) }))
	assert.Error(t, broker.Start(ctx), "it runs already")
	use()
	require.NoError(t, all(both, func(n stack.Node) error { return n.Terminate(ctx) }))
	require.NoError(t, all(both, func(n stack.Node) error { return n.Start(ctx) }))
	use()
	assert.Empty(t, e.UnexpectedExits())

	pauses(t, e, client)
	rows, want = append(rows, len(rows)+1), append(want, "paused")
	slices.Sort(want)
	assert.Equal(t, rows, e.items(t))
	assert.Equal(t, want, e.published(t, "orders"))

	for _, node := range both {
		s.assassinate(t, node)
	}
	require.NoError(t, all(both, func(n stack.Node) error { return n.Start(ctx) }))
	assert.Equal(t, rows, e.items(t))
	assert.Equal(t, want, e.published(t, "orders"))

	// A paused process can be ended as well.
	require.NoError(t, e.postgres().Pause(ctx))
	require.NoError(t, e.postgres().Terminate(ctx))
	require.NoError(t, e.postgres().Start(ctx))
	require.NoError(t, e.postgres().Pause(ctx))
	require.NoError(t, e.postgres().Kill(ctx))
	require.NoError(t, e.postgres().Start(ctx))
	assert.Equal(t, rows, e.items(t))

	stopped := "exited 0"
	if s.engine != nil {
		// A JVM ends with status 143, and engines report signals that way too: both are the same to them.
		stopped = "exited terminated"
	}
	life := func(stopped string) []string {
		return []string{
			"started", "ready", "exited killed", "started", "ready", stopped, "started", "ready", "paused", "resumed", "paused", "resumed",
			"exited killed unasked", "started", "ready",
		}
	}
	assert.Equal(t, life(stopped), e.lived("kafka-1"))
	assert.Equal(t, append(life("exited 0"), "paused", "exited 0", "started", "ready", "paused", "exited killed", "started", "ready"),
		e.lived("postgres"))
	var unexpected []string
	for _, exit := range e.UnexpectedExits() {
		assert.Equal(t, history.Process{Name: exit.Name, PID: exit.PID, State: history.Exited, Signal: "killed", Unasked: true}, exit)
		unexpected = append(unexpected, exit.Name)
	}
	assert.Equal(t, []string{"postgres", "kafka-1"}, unexpected)
}

// all does something with every node, at once.
func all(nodes []stack.Node, do func(stack.Node) error) error {
	var group errgroup.Group
	for _, node := range nodes {
		group.Go(func() error { return do(node) })
	}
	return group.Wait()
}

// pauses: a paused server answers nothing, and all of it later. It writes a row and a record meanwhile.
func pauses(t *testing.T, e *used, client *kgo.Client) {
	ctx := within(t, time.Minute)
	for _, server := range e.servers() {
		require.NoError(t, server.Pause(ctx))
		require.NoError(t, server.Pause(ctx), "again is no error")
		assert.True(t, server.Alive())
		asked := ask(t, server, e.ObserverDial, server.addr) // the kernel takes the connection
		asked.isNotAnswered(t, server.name)
		require.NoError(t, server.Resume(ctx))
		asked.isAnswered(t, server.name+" lost what it was asked while it was paused")
	}
	conn := e.connect(t)
	last := query[int](t, conn, "SELECT max(id) FROM items")[0]
	require.NoError(t, e.postgres().Pause(ctx))
	require.NoError(t, e.Brokers()[0].Pause(ctx))
	var group errgroup.Group
	done := make(chan error, 2)
	for _, write := range []func() error{
		func() error {
			_, err := conn.Exec(ctx, "INSERT INTO items VALUES ($1, 'paused')", last+1)
			return err
		},
		func() error {
			return client.ProduceSync(ctx, &kgo.Record{Topic: "orders", Value: []byte("paused")}).FirstErr()
		},
	} {
		group.Go(func() error {
			err := write()
			done <- err
			return err
		})
	}
	select {
	case err := <-done:
		assert.Fail(t, "a paused server took a write", "%v", err)
	case <-time.After(moment):
	}
	require.NoError(t, e.postgres().Resume(ctx))
	require.NoError(t, e.Brokers()[0].Resume(ctx))
	require.NoError(t, group.Wait())
}
