package observe

import (
	"context"
	"fmt"

	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// askRedis asks a Redis server on a connection of its own.
func askRedis(ctx context.Context, dial DialFunc, addr string, ask func(context.Context, *redis.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, sourceTimeout)
	defer cancel()
	client := redis.NewClient(&redis.Options{
		Addr: addr, Dialer: dial, PoolSize: 1, MaxRetries: -1, Protocol: 2, DisableIdentity: true,
	})
	defer client.Close()
	return ask(ctx, client)
}

// CacheOpen counts the fields of a hash.
func CacheOpen(ctx context.Context, dial DialFunc, addr, hash string) (n int64, err error) {
	err = askRedis(ctx, dial, addr, func(ctx context.Context, client *redis.Client) error {
		n, err = client.HLen(ctx, hash).Result()
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("count what is open in the cache: %w", err)
	}
	return n, nil
}

// CacheCounts reads the count of each SKU at prefix and SKU, one probe each: see [history.ProbeCache].
func CacheCounts(ctx context.Context, dial DialFunc, addr, prefix string, skus []string) ([]history.Probe, error) {
	var values []any
	keys := make([]string, len(skus))
	for i, sku := range skus {
		keys[i] = prefix + sku
	}
	err := askRedis(ctx, dial, addr, func(ctx context.Context, client *redis.Client) (err error) {
		values, err = client.MGet(ctx, keys...).Result()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read counts: %w", err)
	}
	probes := make([]history.Probe, len(skus))
	for i, sku := range skus {
		probes[i] = history.Probe{Name: history.ProbeCache, Subject: sku}
		text, _ := values[i].(string)
		count, err := strconv.ParseInt(text, 10, 64)
		switch {
		case values[i] == nil:
			probes[i].Detail = "there is no count"
		case err != nil:
			probes[i].Detail = fmt.Sprintf("the count is %q", text)
		default:
			probes[i].OK, probes[i].Numbers = true, map[string]int64{"available": count}
		}
	}
	return probes, nil
}
