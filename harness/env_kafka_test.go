package harness

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ordeal-chaos/ordeal/harness/stack"
)

// TestKafkaTellsWhoDoesWhat asks three brokers, and compares with what an ordinary client learns.
func TestKafkaTellsWhoDoesWhat(t *testing.T) {
	backend, err := stack.NewEmbedded(t.Context(), stack.EmbeddedConfig{})
	require.NoError(t, err)
	defer func() { require.NoError(t, backend.Close()) }()
	environment, err := backend.New(t.Context(), stack.Options{
		Dir: t.TempDir(), Brokers: 3, Topics: []stack.Topic{{Name: "events", Partitions: 6}},
	})
	require.NoError(t, err)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	env := &Env{stack: environment}
	names := map[int32]string{}
	for _, broker := range environment.Brokers() {
		names[broker.NodeID()] = broker.Name()
	}
	require.Len(t, names, 3)

	admin, err := env.Admin()
	require.NoError(t, err)
	defer admin.Close()
	metadata, err := admin.Metadata(t.Context(), "events")
	require.NoError(t, err)
	leaders := map[string]int{}
	for partition, details := range metadata.Topics["events"].Partitions {
		leader, err := env.Leader(t.Context(), "events", partition)
		require.NoError(t, err)
		assert.Equal(t, names[details.Leader], leader)
		leaders[leader]++

		var replicas []string
		for _, node := range details.ISR {
			replicas = append(replicas, names[node])
		}
		inSync, err := env.InSync(t.Context(), "events", partition)
		require.NoError(t, err)
		assert.ElementsMatch(t, replicas, inSync)
		assert.IsIncreasing(t, inSync)
	}
	assert.Equal(t, map[string]int{"kafka-1": 2, "kafka-2": 2, "kafka-3": 2}, leaders, "every link to a broker must have work")

	controller, err := env.Controller(t.Context())
	require.NoError(t, err)
	assert.Equal(t, names[metadata.Controller], controller)

	for _, group := range []string{"order", "stock", "payment", "shipping"} {
		found := admin.FindGroupCoordinators(t.Context(), group)
		require.NoError(t, found.Error())
		coordinator, err := env.Coordinator(t.Context(), group)
		require.NoError(t, err)
		assert.Equal(t, names[found[group].NodeID], coordinator)
	}

	_, err = env.Leader(t.Context(), "event", 0)
	assert.ErrorContains(t, err, "find leader of event/0")
	_, err = env.Leader(t.Context(), "events", 6)
	assert.ErrorContains(t, err, "find leader of events/6")
	_, err = env.InSync(t.Context(), "events", 6)
	assert.Error(t, err)
	assert.ErrorIs(t, env.Isolate(t.Context(), "kafka-1"), stack.ErrNotApart)
	assert.ErrorIs(t, env.Rejoin(t.Context(), "kafka-1"), stack.ErrNotApart)

	require.NoError(t, environment.Brokers()[0].Kill(t.Context()))
	began := time.Now()
	_, err = env.Leader(t.Context(), "events", 0)
	assert.ErrorContains(t, err, "ask kafka-2")
	assert.Less(t, time.Since(began), askTimeout+time.Second)
	require.NoError(t, environment.Close(t.Context()))
}

// TestPollBelievesTheMajorityAndThenTheLatest covers what only real brokers do: one is paused, one is cut off.
func TestPollBelievesTheMajorityAndThenTheLatest(t *testing.T) {
	defer goleak.VerifyNone(t)
	type question = func(context.Context) (view, error)
	says := func(epoch int32, nodes ...int32) question {
		return func(context.Context) (view, error) { return view{epoch, nodes}, nil }
	}
	dead := func(context.Context) (view, error) { return view{}, errors.New("nobody there") }
	paused := func(ctx context.Context) (view, error) { <-ctx.Done(); return view{}, ctx.Err() }
	for name, test := range map[string]struct {
		questions []question
		want      []int32
		waits     bool // for the paused one
	}{
		"an only broker":               {[]question{says(0, 7)}, []int32{7}, false},
		"all agree":                    {[]question{says(1, 7), says(1, 7), says(1, 7)}, []int32{7}, false},
		"one is dead":                  {[]question{dead, says(2, 8), says(2, 8)}, []int32{8}, false},
		"one is paused":                {[]question{paused, says(2, 8), says(2, 8)}, []int32{8}, false},
		"one is cut off":               {[]question{says(1, 7), says(2, 8), says(2, 8)}, []int32{8}, false},
		"cut off, and another is dead": {[]question{says(1, 7), dead, says(2, 8)}, []int32{8}, false},
		"cut off, and another paused":  {[]question{says(2, 8), paused, says(1, 7)}, []int32{8}, true},
		"the survivor of three":        {[]question{dead, dead, says(1, 9)}, []int32{9}, false},
		"a set that shrinks":           {[]question{says(3, 1, 2), says(3, 1, 2), says(3, 1, 2, 3)}, []int32{1, 2}, false},
		"nobody leads any more":        {[]question{says(1, 7), dead, says(2, -1)}, []int32{-1}, false},
	} {
		t.Run(name, func(t *testing.T) {
			const limit = 300 * time.Millisecond
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			began := time.Now()
			got, err := poll(ctx, test.questions)
			require.NoError(t, err)
			assert.Equal(t, fmt.Sprint(test.want), fmt.Sprint(got.nodes))
			assert.Equal(t, test.waits, time.Since(began) >= limit)
		})
	}
	_, err := poll(t.Context(), []question{dead, dead})
	assert.ErrorContains(t, err, "nobody there")
}
