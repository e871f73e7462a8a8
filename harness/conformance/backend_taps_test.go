package conformance_test

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/observe"
	"github.com/ordeal-chaos/ordeal/harness/stack"
)

// counted says how often each value was seen. It is safe for concurrent use.
type counted struct {
	mu   sync.Mutex
	seen map[string]int
}

func (c *counted) add(value string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen == nil {
		c.seen = map[string]int{}
	}
	c.seen[value]++
}

func (c *counted) values(t *testing.T) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for value, times := range c.seen {
		assert.Equal(t, 1, times, value)
	}
	return slices.Sorted(maps.Keys(c.seen))
}

func (c *counted) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.seen)
}

// taps: across the death of a server, under load, they see all that it kept, and nothing twice.
func taps(t *testing.T, s *suite) {
	e := s.start(t, 0)
	recorder, err := history.Create(filepath.Join(t.TempDir(), "history.jsonl"), history.Header{})
	require.NoError(t, err)
	defer func() { require.NoError(t, recorder.Close()) }()
	var rows, records counted
	wal, err := observe.TapWAL(within(t, patience), observe.WALConfig{
		DSN: e.postgres().DSN("shop"), Database: "shop", Slot: stack.SlotName("shop"), Publication: stack.Publication,
		Dial: e.ObserverDial, Recorder: recorder, OnRow: func(row history.Row) { rows.add(row.After["id"]) },
	})
	require.NoError(t, err)
	defer wal.Close()
	log, err := observe.TapTopics(within(t, patience), observe.TopicConfig{
		Brokers: e.seeds(), Topics: []string{"orders", "stock"}, Dial: e.KafkaDialer(), Recorder: recorder,
		OnRecord: func(r history.Record) {
			records.add(record{r.Topic, r.Partition, r.Offset, string(r.Key), string(r.Value)}.at())
		},
	})
	require.NoError(t, err)
	defer log.Close()

	ctx, stop := context.WithCancel(within(t, time.Minute))
	var writers sync.WaitGroup
	defer writers.Wait()
	defer stop()
	var sent counted // acknowledged
	writers.Go(func() { e.keepInserting(ctx) })
	writers.Go(func() { keepPublishing(ctx, e.kafka(t), &sent) })
	await := func(c *counted, more int) {
		t.Helper()
		enough := c.len() + more
		require.Eventually(t, func() bool { return c.len() >= enough }, 30*time.Second, 5*time.Millisecond, "taps go on")
	}
	for _, server := range e.servers() {
		await(&rows, 20)
		await(&records, 20)
		require.NoError(t, server.Kill(ctx))
		require.NoError(t, server.Start(ctx))
	}
	await(&rows, 20)
	await(&records, 20)
	stop()
	writers.Wait()

	probes, err := wal.Verify(within(t, 30*time.Second))
	require.NoError(t, err)
	more, err := log.Verify(within(t, 30*time.Second))
	require.NoError(t, err)
	for _, probe := range append(probes, more...) {
		assert.True(t, probe.OK, "%+v", probe)
	}
	var kept []string
	for _, id := range e.items(t) {
		kept = append(kept, strconv.Itoa(id))
	}
	slices.Sort(kept)
	assert.Equal(t, kept, rows.values(t))
	var inLog []string
	values := map[string]int{}
	for _, r := range e.log(t, "orders") {
		inLog = append(inLog, r.at())
		values[r.Value]++
	}
	slices.Sort(inLog)
	assert.Equal(t, inLog, records.values(t))
	for _, value := range sent.values(t) {
		assert.Positive(t, values[value], "%s was acknowledged", value)
		// The embedded broker forgets with SIGKILL what idempotent producers have just sent: a batch that was
		// not acknowledged by then is taken twice.
		if s.Name() != "embedded" {
			assert.Equal(t, 1, values[value], "%s of an idempotent producer", value)
		}
	}
}

// keepInserting commits one row after another until the context ends.
func (u *used) keepInserting(ctx context.Context) {
	for id := 0; ctx.Err() == nil; {
		config, err := pgx.ParseConfig(u.postgres().DSN("shop"))
		if err != nil {
			return
		}
		config.DialFunc = u.ObserverDial
		attempt, cancel := context.WithTimeout(ctx, time.Second)
		conn, err := pgx.ConnectConfig(attempt, config)
		cancel()
		for err == nil {
			id++
			_, err = conn.Exec(ctx, "INSERT INTO items VALUES ($1, 'x')", id)
		}
		if conn != nil {
			_ = conn.Close(context.Background())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func keepPublishing(ctx context.Context, client *kgo.Client, acknowledged *counted) {
	for i := 0; ctx.Err() == nil; i++ {
		value := fmt.Sprintf("r-%05d", i)
		if client.ProduceSync(ctx, &kgo.Record{Topic: "orders", Value: []byte(value)}).FirstErr() == nil {
			acknowledged.add(value)
		}
	}
}
