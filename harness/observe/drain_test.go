package observe

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

func TestDrainSteps(t *testing.T) {
	type poll struct {
		at       time.Duration
		open     []string
		activity int64
	}
	pending := []string{"1 orders PENDING"}
	cases := map[string]struct {
		polls []poll
		want  []string // after each poll
	}{
		"at rest twice in a row": {
			[]poll{{0, nil, 0}, {1, nil, 0}}, []string{"", Quiescent},
		},
		"at rest once is not enough": {
			[]poll{{0, nil, 0}, {1, pending, 0}, {2, nil, 0}, {3, nil, 0}}, []string{"", "", "", Quiescent},
		},
		"stuck after the longest timer": {
			[]poll{{0, pending, 5}, {10, pending, 5}, {11, pending, 5}}, []string{"", "", Stuck},
		},
		"activity puts it off": {
			[]poll{{0, pending, 5}, {9, pending, 6}, {19, pending, 6}, {20, pending, 6}}, []string{"", "", "", Stuck},
		},
		"a change in what is open puts it off": {
			[]poll{{0, pending, 5}, {9, []string{"outbox"}, 5}, {19, []string{"outbox"}, 5}, {20, []string{"outbox"}, 5}}, []string{"", "", "", Stuck},
		},
		"at rest is never stuck": {
			[]poll{{0, nil, 5}, {30, nil, 6}}, []string{"", Quiescent},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			d := drain{longest: 10}
			for i, p := range c.polls {
				assert.Equal(t, c.want[i], d.step(p.at, Status{p.open, p.activity}), "poll %d", i)
			}
		})
	}
	d := drain{}
	assert.Empty(t, d.step(0, Status{Open: pending}))
	assert.Empty(t, d.step(time.Hour, Status{Open: pending}), "without a longest timer nothing is stuck")
}

func TestDrainQuiescent(t *testing.T) {
	polls := 0
	probe := Drain(t.Context(), DrainConfig{
		Sources: []Source{func(context.Context) ([]string, error) {
			if polls++; polls < 4 {
				return []string{"1 orders PENDING"}, nil
			}
			return nil, nil
		}},
		Every: time.Millisecond,
	})
	assert.True(t, probe.OK)
	assert.Equal(t, history.ProbeQuiescent, probe.Name)
	assert.Equal(t, "quiescent", probe.Detail)
	assert.EqualValues(t, 5, probe.Numbers["polls"])
	assert.EqualValues(t, 30_000, probe.Numbers["deadline_ms"])
	assert.Contains(t, probe.Numbers, "starved")
}

func TestDrainStuck(t *testing.T) {
	began := time.Now()
	probe := Drain(t.Context(), DrainConfig{
		Sources: []Source{
			func(context.Context) ([]string, error) { return []string{"2 orders PENDING"}, nil },
			func(context.Context) ([]string, error) { return nil, errors.New("broker is gone") },
		},
		Every: time.Millisecond, Longest: 50 * time.Millisecond, Deadline: 2 * patience,
	})
	assert.False(t, probe.OK)
	assert.Equal(t, "stuck; 2 orders PENDING; broker is gone", probe.Detail)
	assert.GreaterOrEqual(t, probe.Numbers["idle_ms"], int64(50))
	assert.Less(t, time.Since(began), patience, "long before the deadline")
}

func TestDrainDeadline(t *testing.T) {
	j := newJournal(t)
	source := func(ctx context.Context) ([]string, error) {
		j.Append(history.Event{Row: &history.Row{Table: "orders"}}) // it goes on and on
		return []string{"1 orders PENDING"}, ctx.Err()
	}
	probe := Drain(t.Context(), DrainConfig{
		Sources: []Source{source}, Recorder: j.Recorder,
		Every: 5 * time.Millisecond, Longest: 100 * time.Millisecond, Deadline: time.Second,
	})
	assert.False(t, probe.OK)
	assert.Equal(t, "deadline; 1 orders PENDING", probe.Detail)
	assert.EqualValues(t, 1000, probe.Numbers["deadline_ms"])
	assert.GreaterOrEqual(t, probe.Numbers["waited_ms"], int64(1000))

	quiet := func(context.Context) ([]string, error) {
		j.Append(history.Event{Probe: &history.Probe{}}) // the harness's own doing is no activity
		return []string{"1 orders PENDING"}, nil
	}
	probe = Drain(t.Context(), DrainConfig{Sources: []Source{quiet}, Recorder: j.Recorder, Every: 5 * time.Millisecond, Longest: 100 * time.Millisecond})
	assert.Equal(t, "stuck; 1 orders PENDING", probe.Detail)
}

func TestDrainInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	probe := Drain(ctx, DrainConfig{Sources: []Source{func(ctx context.Context) ([]string, error) {
		cancel()
		<-ctx.Done()
		return nil, nil
	}}})
	assert.False(t, probe.OK, "a poll that was cut off says nothing")
	assert.Equal(t, "interrupted", probe.Detail)
}

func TestLag(t *testing.T) {
	ms := time.Millisecond
	assert.Equal(t, []time.Duration{0}, samples(nil, 9*ms))
	assert.Equal(t, []time.Duration{5 * ms}, samples(nil, 15*ms))
	assert.Equal(t, []time.Duration{25 * ms, 15 * ms, 5 * ms}, samples(nil, 35*ms), "a long stop is many late runs")
	lags := make([]time.Duration, 0, 200)
	for i := range 200 {
		lags = append(lags, time.Duration(i+1))
	}
	assert.EqualValues(t, 198, percentile(lags, 99))
	assert.EqualValues(t, 200, percentile(lags, 100))
	assert.Zero(t, percentile(nil, 99))
	assert.EqualValues(t, 0, starved(250*ms, 2*time.Second))
	assert.EqualValues(t, 1, starved(251*ms, 0))
	assert.EqualValues(t, 1, starved(0, 2001*ms))

	w := watchLag()
	require.True(t, pause(t.Context(), 60*ms))
	p99, most := w.stop()
	assert.LessOrEqual(t, p99, most)
	assert.NotEmpty(t, w.lags)
}

func TestSourcesOfDatabase(t *testing.T) {
	p, j := startPostgres(t), newJournal(t)
	p.prepare(t, itemsSQL)
	tap := p.tap(t, j)
	pending := tap.Count("items short", "SELECT count(*) FROM items WHERE qty = 0")
	open, err := pending(t.Context())
	require.NoError(t, err)
	assert.Empty(t, open)
	p.exec(t, "INSERT INTO items VALUES (1, 'a', 0), (2, 'b', 0), (3, 'c', 1)")
	open, err = pending(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"2 items short"}, open)
	_, err = tap.Count("nothing", "SELECT count(*) FROM none")(t.Context())
	require.ErrorContains(t, err, "count nothing")
	open, err = tap.Behind(t.Context())
	require.NoError(t, err)
	assert.Empty(t, open)
	require.NoError(t, tap.Close())
	_, err = tap.Behind(t.Context())
	require.ErrorIs(t, err, errClosed)
}
