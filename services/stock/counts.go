package stock

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ordeal-chaos/ordeal/services/internal/events"
)

// Keys in Redis.
const (
	CountPrefix = "available:" // and a product: how much of it is available
	IntentsKey  = "intents"    // hash: what is under way, by id
	donePrefix  = "done:"      // and an id: it was struck out
)

const (
	redisTimeout = 500 * time.Millisecond // of one command
	doneSeconds  = 60
)

// counts are the counts in Redis. Every script does its work once for each intent, however often it arrives, and none
// that arrives after the intent was struck out does anything.
type counts struct{ client *redis.Client }

// newCounts does not connect. The client is the process's own and ends with it: it keeps connections and nothing else.
func newCounts(address string) *counts {
	return &counts{redis.NewClient(&redis.Options{
		Addr: address, Protocol: 2, DisableIdentity: true, MaxRetries: 1,
		DialTimeout: redisTimeout, ReadTimeout: redisTimeout, WriteTimeout: redisTimeout,
	})}
}

// takeScript: KEYS are the intents, the intent's mark, and the count of each line; ARGV its id, its record, and the
// quantities. It returns 0, or the number of the first line that is short, or that of one without a count, negative.
var takeScript = redis.NewScript(`
if redis.call('EXISTS', KEYS[2]) == 1 or redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then
	return 0
end
local left = {}
for i = 3, #KEYS do
	local count = left[KEYS[i]] or redis.call('GET', KEYS[i])
	if not count then
		return 2 - i
	end
	left[KEYS[i]] = tonumber(count) - tonumber(ARGV[i])
	if left[KEYS[i]] < 0 then
		return i - 2
	end
end
for i = 3, #KEYS do
	redis.call('DECRBY', KEYS[i], ARGV[i])
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 0
`)

// noteScript: KEYS are the intents and the intent's mark; ARGV its id and its record.
var noteScript = redis.NewScript(`
if redis.call('EXISTS', KEYS[2]) == 0 then
	redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
return 0
`)

// strikeScript: KEYS as those of takeScript; ARGV the id, how long to keep the mark, and what to add to each count.
var strikeScript = redis.NewScript(`
redis.call('SET', KEYS[2], '1', 'EX', ARGV[2])
if redis.call('HDEL', KEYS[1], ARGV[1]) == 1 then
	for i = 3, #KEYS do
		if redis.call('EXISTS', KEYS[i]) == 1 then
			redis.call('INCRBY', KEYS[i], ARGV[i])
		end
	end
end
return 0
`)

func (c *counts) keys(in intent) []string {
	keys := []string{IntentsKey, donePrefix + in.id}
	for _, line := range in.Lines {
		keys = append(keys, CountPrefix+line.ProductID)
	}
	return keys
}

// take takes all lines of an intent, or none: then one is short, or has no count.
func (c *counts) take(ctx context.Context, in intent) (short, missing *events.Line, err error) {
	args := []any{in.id, in.record()}
	for _, line := range in.Lines {
		args = append(args, line.Qty)
	}
	line, err := takeScript.Run(ctx, c.client, c.keys(in), args...).Int()
	switch {
	case err != nil:
		return nil, nil, err
	case line > 0:
		return &in.Lines[line-1], nil, nil
	case line < 0:
		return nil, &in.Lines[-line-1], nil
	default:
		return nil, nil, nil
	}
}

// note writes an intent down.
func (c *counts) note(ctx context.Context, in intent) error {
	return noteScript.Run(ctx, c.client, c.keys(in)[:2], in.id, in.record()).Err()
}

// strike strikes an intent out and adds its quantities to the counts, if it adds.
func (c *counts) strike(ctx context.Context, in intent, adds bool) error {
	args := []any{in.id, doneSeconds}
	for _, line := range in.Lines {
		if !adds {
			line.Qty = 0
		}
		args = append(args, line.Qty)
	}
	return strikeScript.Run(ctx, c.client, c.keys(in), args...).Err()
}

// open lists the intents that are not struck out.
func (c *counts) open(ctx context.Context) ([]intent, error) {
	records, err := c.client.HGetAll(ctx, IntentsKey).Result()
	if err != nil {
		return nil, err
	}
	var list []intent
	var errs []error
	for id, record := range records {
		in := intent{id: id}
		if err := json.Unmarshal([]byte(record), &in); err != nil {
			errs = append(errs, fmt.Errorf("read intent %s: %w", id, err))
			continue
		}
		list = append(list, in)
	}
	return list, errors.Join(errs...)
}

// fill sets a count that is not there.
func (c *counts) fill(ctx context.Context, product string, available int64) error {
	return c.client.SetNX(ctx, CountPrefix+product, available, 0).Err()
}
