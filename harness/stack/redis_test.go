package stack

import (
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What the embedded Redis keeps dies with its process, and every connection to it is known.
func TestRedisForgetsWhenItDies(t *testing.T) {
	e, seen := newEnvironment(t, newBackend(t), func(o *Options) { o.Databases, o.Topics, o.Caches = nil, nil, []string{"redis"} })
	cache := e.Caches()[0]
	client := redis.NewClient(&redis.Options{Addr: cache.Addr(), Dialer: e.ObserverDial, DisableIdentity: true, Protocol: 2})
	defer func() { assert.NoError(t, client.Close()) }()
	require.NoError(t, client.Set(t.Context(), "k", 7, 0).Err())
	got, err := redis.NewScript(`return redis.call('DECRBY', KEYS[1], ARGV[1])`).Run(t.Context(), client, []string{"k"}, 2).Int()
	require.NoError(t, err)
	assert.Equal(t, 5, got)

	require.NoError(t, cache.Kill(t.Context()))
	require.NoError(t, cache.Start(t.Context()))
	assert.ErrorIs(t, client.Get(t.Context(), "k").Err(), redis.Nil)
	require.NoError(t, cache.Terminate(t.Context()))
	assert.Equal(t, []string{"started", "ready", "exited killed", "started", "ready", "exited 0"}, seen.of("redis"))

	peers, err := cache.Peers()
	require.NoError(t, err)
	assert.NotEmpty(t, peers)
	for _, port := range peers {
		assert.Positive(t, e.Observers().Uses(port), "an unknown connection from %d", port)
	}
}
