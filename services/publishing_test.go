package services_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/events"
)

// TestRelays publishes through every relay, over an outage of the broker, until nothing is left in the outbox.
func TestRelays(t *testing.T) {
	for _, publishing := range []string{services.OutboxPolling, services.OutboxCursor, services.OutboxNotify, services.OutboxLogical} {
		t.Run(publishing, func(t *testing.T) {
			s := newStack(t, map[string]string{"PARTS": publishing})
			s.startOrder()
			s.awaitReady(s.orderURL)
			var outage atomic.Bool
			outage.Store(true)
			s.kafka.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
				s.kafka.KeepControl()
				return nil, errors.New("outage"), outage.Load()
			})
			id := s.place(`{"productId":"apple","qty":3,"paymentAmt":1}`)
			outage.Store(false)
			s.await(func() string { return s.one(s.orders, `select count(*)::text from outbox where published_at is null`) }, "0", "rows not published")
			require.Len(t, s.eventsOf(events.OrderEvents, id, events.OrderPlaced), 1)
		})
	}
}

// TestHorizon commits a row with a lower id after one with a higher id was published.
func TestHorizon(t *testing.T) {
	for _, sound := range []bool{true, false} {
		t.Run(fmt.Sprintf("sound %v", sound), func(t *testing.T) {
			env := map[string]string{"PARTS": services.OutboxCursor}
			if !sound {
				env["WITHOUT"] = services.Horizon
			}
			s := newStack(t, env)
			s.startOrder()
			s.awaitReady(s.orderURL)
			ctx := context.Background()
			long, err := s.orders.Begin(ctx)
			require.NoError(t, err)
			defer long.Rollback(ctx)
			_, err = long.Exec(ctx, `insert into outbox (event_id, topic, key, headers) values ('late', 'order-events', 'o-late', '{"event_id":"late"}')`)
			require.NoError(t, err)
			first := s.place(`{"productId":"apple","qty":3,"paymentAmt":1}`)
			published := func(order, kind string) func() string {
				return func() string { return fmt.Sprint(len(s.eventsOf(events.OrderEvents, order, kind)) > 0) }
			}
			if sound {
				s.never(published(first, events.OrderPlaced), "true", 200*time.Millisecond)
			} else {
				s.await(published(first, events.OrderPlaced), "true", "event behind a long transaction")
			}
			require.NoError(t, long.Commit(ctx))
			second := s.place(`{"productId":"apple","qty":3,"paymentAmt":1}`)
			s.await(published(first, events.OrderPlaced), "true", "first event")
			s.await(published(second, events.OrderPlaced), "true", "second event")
			late := func() string {
				n := 0
				for _, record := range s.records(events.OrderEvents) {
					if string(record.Key) == "o-late" {
						n++
					}
				}
				return fmt.Sprint(n)
			}
			if sound {
				s.await(late, "1", "records of the late row")
				return
			}
			s.never(late, "1", 200*time.Millisecond)
		})
	}
}
