package broker

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/guard"
)

// sent notes commits of topic t.
type sent struct {
	offsets []map[int]int64
	err     error
}

func (s *sent) send(offsets map[string]map[int]int64) error {
	s.offsets = append(s.offsets, maps.Clone(offsets["t"]))
	return s.err
}

func TestCommitsAfterAnError(t *testing.T) {
	var s sent
	c := newCommits(Acks{}, s.send)
	require.NoError(t, c.ticked())
	assert.Empty(t, s.offsets, "nothing to commit")

	require.NoError(t, c.done("t", 1, 5))
	require.NoError(t, c.done("t", 2, 7))
	s.err = errors.New("no coordinator")
	require.ErrorIs(t, c.ticked(), s.err)
	require.NoError(t, c.done("t", 1, 6)) // while the commit of 5 failed
	s.err = nil
	require.NoError(t, c.ticked())
	require.NoError(t, c.ticked())
	assert.Equal(t, []map[int]int64{{1: 5, 2: 7}, {1: 6, 2: 7}}, s.offsets)
}

// TestAckModes says after which step each mode commits which offset: three records in two polls, then two ticks, the
// second when nothing moved for long, then the end of the generation.
func TestAckModes(t *testing.T) {
	for part, want := range map[string][]map[string]int64{
		services.AckTime:            {{"tick": 3}},
		services.AckRecord:          {{"1": 1}, {"2": 2}, {"3": 3}},
		services.AckBatch:           {{"poll 2": 2}, {"poll 3": 3}},
		services.AckCount:           {{"poll 2": 2}, {"idle": 3}},
		services.AckCountTime:       {{"poll 2": 2}, {"tick": 3}},
		services.AckManual:          {{"poll 2": 2}, {"poll 3": 3}},
		services.AckManualImmediate: {{"1": 1}, {"2": 2}, {"3": 3}},
	} {
		var got []map[string]int64
		step := ""
		c := newCommits(Acks{Part: part, Count: 2, Time: time.Millisecond}, func(offsets map[string]map[int]int64) error {
			got = append(got, map[string]int64{step: offsets["t"][0]})
			return nil
		})
		does := func(name string, do func() error) {
			step = name
			require.NoError(t, do())
		}
		does("1", func() error { return c.done("t", 0, 1) })
		does("2", func() error { return c.done("t", 0, 2) })
		does("poll 2", c.polled)
		does("3", func() error { return c.done("t", 0, 3) })
		does("poll 3", c.polled)
		does("tick", c.ticked)
		c.moved = c.moved.Add(-idleAfter)
		does("idle", c.ticked)
		does("end", c.ended)
		assert.Equal(t, want, got, part)
	}
}

func TestCountCommitsItsRestAtTheEnd(t *testing.T) {
	var s sent
	c := newCommits(Acks{Part: services.AckCount, Count: 10}, s.send)
	require.NoError(t, c.done("t", 0, 1))
	require.NoError(t, c.polled())
	require.NoError(t, c.ticked())
	assert.Empty(t, s.offsets)
	require.NoError(t, c.ended())
	assert.Equal(t, []map[int]int64{{0: 1}}, s.offsets)
}

// TestWhoAcknowledges runs one record through every mode whose handler fails, acknowledges, or does neither.
func TestWhoAcknowledges(t *testing.T) {
	failed := errors.New("partition was taken away")
	log := slog.New(slog.DiscardHandler)
	handle := func(part string, handler func(context.Context, Record) error, without ...string) []map[int]int64 {
		var s sent
		c := NewConsumer(ConsumerConfig{Handle: handler, Acks: Acks{Part: part}, Log: log, Guards: guard.New(without, log)})
		commits := newCommits(c.cfg.Acks, s.send)
		_ = c.handle(t.Context(), Record{Topic: "t", Offset: 4}, commits)
		require.NoError(t, commits.ended())
		return s.offsets
	}
	silent := func(context.Context, Record) error { return nil }
	acknowledging := func(_ context.Context, r Record) error { r.Acknowledge(); return nil }
	failing := func(context.Context, Record) error { return failed }
	done := []map[int]int64{{0: 5}}
	for _, part := range []string{"", services.AckTime, services.AckRecord, services.AckBatch, services.AckCount, services.AckCountTime} {
		assert.Equal(t, done, handle(part, silent), part)
		assert.Equal(t, done, handle(part, acknowledging), part)
		assert.Empty(t, handle(part, failing), part)
		assert.Equal(t, done, handle(part, failing, services.AckAfterEffect), "%s: committed before", part)
	}
	for _, part := range []string{services.AckManual, services.AckManualImmediate} {
		assert.Empty(t, handle(part, silent), part)
		assert.Equal(t, done, handle(part, acknowledging), part)
		assert.Empty(t, handle(part, failing), part)
	}
	assert.Empty(t, handle(services.AutoCommit, silent), "what was fetched is committed, not what was handled")
}
