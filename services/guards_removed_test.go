package services_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/events"
	"github.com/ordeal-chaos/ordeal/services/order"
)

// withAndWithout runs a test on the sound design, and with a guard removed.
func withAndWithout(t *testing.T, guard string, test func(t *testing.T, env map[string]string, sound bool)) {
	t.Run("sound", func(t *testing.T) { test(t, map[string]string{}, true) })
	t.Run("without "+guard, func(t *testing.T) { test(t, map[string]string{"WITHOUT": guard}, false) })
}

func TestInboxDedup(t *testing.T) {
	withAndWithout(t, services.InboxDedup, func(t *testing.T, env map[string]string, sound bool) {
		s := startedStack(t, env)
		s.seed("apple", 10)
		id := s.place(`{"productId":"apple","qty":3,"paymentAmt":1}`)
		s.awaitStatus(id, "CONFIRMED")
		s.awaitLevels("apple", "7 0 3")
		for _, eventType := range []string{events.OrderPlaced, events.OrderConfirmed} {
			s.again(s.eventsOf(events.OrderEvents, id, eventType)[0])
		}
		s.again(s.eventsOf(events.StockEvents, id, events.StockReserved)[0])
		s.settled("stock", events.OrderEvents)
		s.settled("order", events.StockEvents)
		reserves := s.one(s.stock, `select count(*)::text from stock_ledger where order_id = $1 and op = 'reserve'`, id)
		if sound {
			assert.Equal(t, "1", reserves)
			assert.Equal(t, "7 0 3", s.levels("apple"))
			return
		}
		assert.Equal(t, "2", reserves)
		assert.NotEqual(t, "7 0 3", s.levels("apple"))
	})
}

// refuseCommits makes every transaction that places an order fail at its COMMIT.
const refuseCommits = `
	create function refuse() returns trigger language plpgsql as $$ begin raise exception 'refused at commit'; end $$;
	create constraint trigger refuse after insert on orders deferrable initially deferred for each row execute function refuse()`

func TestOutbox(t *testing.T) {
	withAndWithout(t, services.Outbox, func(t *testing.T, env map[string]string, sound bool) {
		s := newStack(t, env)
		s.startOrder()
		s.awaitReady(s.orderURL)
		s.exec(s.orders, refuseCommits)
		a := s.post("", `{"orderId":"o-1","productId":"apple","qty":3,"paymentAmt":1}`)
		assert.Equal(t, 503, a.Status)
		assert.Empty(t, s.status("o-1"))
		phantoms := func() string { return fmt.Sprint(len(s.eventsOf(events.OrderEvents, "o-1", events.OrderPlaced))) }
		if sound {
			s.never(phantoms, "1", 200*time.Millisecond)
			return
		}
		assert.Equal(t, "1", phantoms())
	})
}

func TestAfterCommitOutbox(t *testing.T) {
	withAndWithout(t, services.AfterCommitOutbox, func(t *testing.T, env map[string]string, sound bool) {
		s := newStack(t, env)
		stop := s.startOrder()
		s.awaitReady(s.orderURL)
		var outage atomic.Bool
		outage.Store(true)
		s.kafka.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
			s.kafka.KeepControl()
			return nil, errors.New("outage"), outage.Load()
		})
		id := s.place(`{"productId":"apple","qty":3,"paymentAmt":1}`)
		stop() // what only the process knew is gone
		outage.Store(false)
		s.startOrder()
		s.awaitReady(s.orderURL)
		published := func() string { return fmt.Sprint(len(s.eventsOf(events.OrderEvents, id, events.OrderPlaced))) }
		if sound {
			s.await(published, "1", "events published after the outage")
			return
		}
		s.never(published, "1", 500*time.Millisecond)
		assert.Equal(t, order.Pending, s.status(id))
	})
}

func TestConditionalUpdate(t *testing.T) {
	withAndWithout(t, services.ConditionalUpdate, func(t *testing.T, env map[string]string, sound bool) {
		env["LOCK_TIMEOUT"] = "2s"
		s := newStack(t, env)
		s.seed("apple", 1)
		s.startStock()
		s.awaitReady(s.stockURL)
		// Both writers wait for the row, the one without the guard having read it before.
		ctx := context.Background()
		tx, err := s.stock.Begin(ctx)
		require.NoError(t, err)
		defer tx.Rollback(ctx)
		_, err = tx.Exec(ctx, `select * from stock for update`)
		require.NoError(t, err)
		statuses := make([]int, 2)
		var clients sync.WaitGroup
		for i := range statuses {
			clients.Go(func() {
				statuses[i] = s.call(http.MethodPost, s.stockURL+"/api/v1/stocks", "", `{"productId":"apple","qty":1}`).Status
			})
		}
		s.await(func() string {
			return s.one(s.stock, `select count(*)::text from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`)
		}, "2", "waiting writers")
		require.NoError(t, tx.Rollback(ctx))
		clients.Wait()
		sold := s.one(s.stock, `select sum(qty)::text from stock_ledger where op = 'reserve'`)
		if sound {
			assert.ElementsMatch(t, []int{201, 409}, statuses)
			assert.Equal(t, "1", sold)
			return
		}
		assert.Equal(t, []int{201, 201}, statuses)
		assert.Equal(t, "2", sold, "one apple was reserved twice")
	})
}

func TestCASTransition(t *testing.T) {
	withAndWithout(t, services.CASTransition, func(t *testing.T, env map[string]string, sound bool) {
		s := newStack(t, env)
		s.startOrder()
		s.awaitReady(s.orderURL)
		id := s.place(`{"productId":"apple","qty":3,"paymentAmt":1}`)
		require.Equal(t, 200, s.call(http.MethodDelete, s.orderURL+"/api/v1/orders/"+id, "", "").Status)
		s.produce(eventRecord(events.StockEvents, events.Event{ID: "late", Type: events.StockReserved, OrderID: id, Version: 1, Lines: lines("apple", 3)}))
		s.settled("order", events.StockEvents)
		if sound {
			assert.Equal(t, order.Cancelled, s.status(id))
			assert.Equal(t, "ignored", s.one(s.orders, `select outcome from inbox where event_id = 'late'`))
			return
		}
		assert.Equal(t, order.Confirmed, s.status(id))
		assert.Equal(t, "3", s.one(s.orders, `select version::text from orders where order_id = $1`, id))
		s.await(func() string { return fmt.Sprint(len(s.eventsOf(events.OrderEvents, id, events.OrderConfirmed))) }, "1", "announcements")
	})
}

func TestSweeper(t *testing.T) {
	withAndWithout(t, services.Sweeper, func(t *testing.T, env map[string]string, sound bool) {
		env["ORDER_TTL"], env["SWEEP_INTERVAL"] = "150ms", "20ms"
		s := newStack(t, env)
		s.startOrder()
		s.awaitReady(s.orderURL)
		id := s.place(`{"productId":"apple","qty":3,"paymentAmt":1}`)
		if sound {
			s.awaitStatus(id, order.Cancelled)
			s.await(func() string { return fmt.Sprint(len(s.eventsOf(events.OrderEvents, id, events.OrderCancelled))) }, "1", "announcements")
			assert.Equal(t, "expired", reasonOf(t, s.eventsOf(events.OrderEvents, id, events.OrderCancelled)))
			return
		}
		s.never(func() string { return s.status(id) }, order.Cancelled, 600*time.Millisecond)
	})
}

func TestDeadLetter(t *testing.T) {
	withAndWithout(t, services.DeadLetter, func(t *testing.T, env map[string]string, sound bool) {
		env["RETRY_BACKOFF"] = "5ms"
		s := startedStack(t, env)
		s.seed("apple", 100)
		poison := &kgo.Record{Topic: events.OrderEvents, Partition: 3, Key: []byte{0xff, 0}, Value: []byte("{\xff"),
			Headers: []kgo.RecordHeader{{Key: "a", Value: []byte{0, 0xfe}}, {Key: "b", Value: []byte("text")}, {Key: "b", Value: nil}}}
		s.produce(poison)
		behind := eventRecord(events.OrderEvents, events.Event{ID: "behind", Type: events.OrderPlaced, OrderID: "o-1", Version: 1, Lines: lines("apple", 1)})
		behind.Partition = 3
		s.produce(behind)
		processed := func() string { return s.one(s.stock, `select outcome from inbox where event_id = 'behind'`) }
		if !sound {
			s.never(processed, "applied", 600*time.Millisecond)
			assert.Empty(t, s.records("dlt-order-events"))
			return
		}
		s.await(processed, "applied", "outcome of the record behind the poison")
		s.await(func() string { return fmt.Sprint(len(s.records("dlt-order-events"))) }, "1", "dead letters")
		letter := s.records("dlt-order-events")[0]
		assert.Equal(t, poison.Key, letter.Key)
		assert.Equal(t, poison.Value, letter.Value)
		assert.Equal(t, poison.Partition, letter.Partition)
		assert.Equal(t, poison.Headers, letter.Headers[:3])
		id := fmt.Sprintf("order-events/3@%d", poison.Offset)
		assert.Equal(t, "dead-lettered", s.one(s.stock, `select outcome from inbox where event_id = $1`, id))
	})
}

func TestIdempotencyKey(t *testing.T) {
	withAndWithout(t, services.IdempotencyKey, func(t *testing.T, env map[string]string, sound bool) {
		s := startedStack(t, env)
		s.seed("apple", 10)
		const body = `{"productId":"apple","qty":1,"paymentAmt":5}`
		first, second := s.post("key", body), s.post("key", body)
		a, b := s.call(http.MethodPost, s.stockURL+"/api/v1/stocks", "key", body), s.call(http.MethodPost, s.stockURL+"/api/v1/stocks", "key", body)
		assert.Equal(t, sound, first.text("orderId") == second.text("orderId"))
		assert.Equal(t, sound, a.text("reservationId") == b.text("reservationId"))
		assert.Equal(t, "key", s.one(s.orders, `select distinct idempotency_key from orders`), "stored in any case")
	})
}

func TestAcksAll(t *testing.T) {
	withAndWithout(t, services.AcksAll, func(t *testing.T, env map[string]string, sound bool) {
		env["RETRY_BACKOFF"] = "5ms"
		s := newStack(t, env)
		want, topics := int16(-1), map[string]bool{}
		if !sound {
			want = 1
		}
		var mu sync.Mutex
		s.kafka.ControlKey(int16(kmsg.Produce), func(request kmsg.Request) (kmsg.Response, error, bool) {
			s.kafka.KeepControl()
			mu.Lock()
			defer mu.Unlock()
			produce := request.(*kmsg.ProduceRequest)
			for _, topic := range produce.Topics {
				for _, partition := range topic.Partitions {
					if strings.HasPrefix(topic.Topic, "dlt-") || !bytes.Contains(partition.Records, []byte("made by the test")) {
						topics[topic.Topic] = true
						assert.Equal(t, want, produce.Acks, topic.Topic)
					}
				}
			}
			return nil, nil, false
		})
		s.startOrder()
		s.startStock()
		s.awaitReady(s.orderURL)
		s.awaitReady(s.stockURL)
		s.seed("apple", 10)
		s.awaitStatus(s.place(`{"productId":"apple","qty":3,"paymentAmt":1}`), order.Confirmed)
		for _, topic := range []string{events.OrderEvents, events.StockEvents} {
			s.produce(&kgo.Record{Topic: topic, Value: []byte("{"), Headers: []kgo.RecordHeader{{Key: "poison", Value: []byte("made by the test")}}})
			s.await(func() string { return fmt.Sprint(len(s.records("dlt-" + topic))) }, "1", "dead letters")
		}
		mu.Lock()
		defer mu.Unlock()
		assert.Len(t, topics, 4, "events and dead letters of both services")
	})
}

func eventRecord(topic string, e events.Event) *kgo.Record {
	return &kgo.Record{Topic: topic, Key: []byte(e.OrderID), Value: e.Encode(), Headers: []kgo.RecordHeader{
		{Key: events.HeaderID, Value: []byte(e.ID)}, {Key: events.HeaderType, Value: []byte(e.Type)},
	}}
}

func lines(product string, qty int64) []events.Line {
	return []events.Line{{LineNo: 1, ProductID: product, Qty: qty}}
}

// runOrder runs the order service with a valid environment but for what is given, and returns its exit code and log.
func runOrder(t *testing.T, env map[string]string) (int, string) {
	all := map[string]string{"HTTP_ADDR": freeAddress(t), "DATABASE_URL": "postgres://u@127.0.0.1:1/d", "KAFKA_BROKERS": "127.0.0.1:1"}
	for name, value := range env {
		all[name] = value
	}
	var log bytes.Buffer
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	code := order.Run(ctx, func(name string) string { return all[name] }, &log)
	require.NoError(t, ctx.Err(), "the service started")
	return code, log.String()
}
