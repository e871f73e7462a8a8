package services_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/ordeal-chaos/ordeal/services/internal/events"
)

// TestOrdersSurviveLosses places orders through two replicas of stock while sessions are terminated, produces are
// cut after they were appended, and a replica leaves: each order must end once, in both databases alike.
func TestOrdersSurviveLosses(t *testing.T) {
	s := startedStack(t, map[string]string{"RETRY_BACKOFF": "5ms", "ORDER_TTL": "1m", "LOCK_TIMEOUT": "2s"})
	s.seed("apple", 40)
	stopReplica := s.startStockReplica()
	var heartbeats, produces atomic.Int64
	s.kafka.ControlKey(int16(kmsg.Heartbeat), func(kmsg.Request) (kmsg.Response, error, bool) {
		s.kafka.KeepControl()
		if heartbeats.Add(1)%7 == 0 {
			return nil, errors.New("cut"), true // ends a generation, and with it the connection
		}
		return nil, nil, false
	})
	s.kafka.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		s.kafka.KeepControl()
		return nil, errors.New("cut"), produces.Add(1)%5 == 0
	})
	var ids []string
	for i := range 60 {
		a := s.post(fmt.Sprintf("key-%d", i), `{"productId":"apple","qty":1,"paymentAmt":5}`)
		for a.Status == 503 {
			a = s.post(fmt.Sprintf("key-%d", i), `{"productId":"apple","qty":1,"paymentAmt":5}`)
		}
		require.Contains(t, []int{200, 201}, a.Status, "%v", a.Body)
		ids = append(ids, a.text("orderId"))
		switch i {
		case 15, 35:
			for _, pool := range []string{s.orders.Config().ConnConfig.Database, s.stock.Config().ConnConfig.Database} {
				s.exec(s.orders, `select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and pid <> pg_backend_pid()
					and application_name <> ''`, pool)
			}
		case 25:
			stopReplica()
		}
	}
	s.await(func() string { return s.one(s.orders, `select count(*)::text from orders where status = 'PENDING'`) }, "0", "pending orders")
	s.awaitLevels("apple", "0 0 40")
	assert.Equal(t, "40", s.one(s.orders, `select count(*)::text from orders where status = 'CONFIRMED'`))
	assert.Equal(t, "60", s.one(s.orders, `select count(*)::text from orders`))
	s.published()
	s.settled("stock", events.OrderEvents)
	s.settled("order", events.StockEvents)
	assert.Equal(t, "60", s.one(s.stock, `select count(*)::text from reservations`))
	assert.Empty(t, s.records("dlt-order-events"))
	assert.Empty(t, s.records("dlt-stock-events"))

	// In the log the first occurrences of an order's events are in the order of their versions.
	seen := map[string]int{}
	for _, record := range s.records(events.OrderEvents) {
		e, err := events.Decode(record.Value)
		require.NoError(t, err)
		require.LessOrEqual(t, e.Version, seen[e.OrderID]+1, "order %s", e.OrderID)
		seen[e.OrderID] = max(seen[e.OrderID], e.Version)
	}
	for _, id := range ids {
		assert.Equal(t, 2, seen[id], "order %s was announced whole", id)
	}
}

func TestServicesLeaveNothingRunning(t *testing.T) {
	postgres(t)
	before := goleak.IgnoreCurrent()
	t.Run("run", func(t *testing.T) {
		s := startedStack(t, nil)
		s.seed("apple", 10)
		s.awaitStatus(s.place(`{"productId":"apple","qty":3,"paymentAmt":1}`), "CONFIRMED")
	})
	var leak error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); { // what has ended may still have to be run to its end
		leak = goleak.Find(before,
			goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
		if leak == nil {
			break
		}
	}
	require.NoError(t, leak)
}
