package services_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ordeal-chaos/ordeal/services/internal/events"
)

func TestOrderIsConfirmedAndSold(t *testing.T) {
	s := startedStack(t, nil)
	s.seed("apple", 10)
	s.seed("pear", 10)
	id := s.place(`{"lines":[{"productId":"pear","qty":2},{"productId":"apple","qty":3},{"productId":"pear","qty":1}],"paymentAmt":7}`)
	s.awaitStatus(id, "CONFIRMED")
	s.awaitLevels("apple", "7 0 3")
	s.awaitLevels("pear", "7 0 3")

	got := s.call(http.MethodGet, s.orderURL+"/api/v1/orders/"+id, "", "")
	assert.Equal(t, http.StatusOK, got.Status)
	assert.Equal(t, "2", got.text("version"))
	assert.Len(t, got.Body["lines"], 3)
	for _, op := range []string{"reserve", "sell"} {
		assert.Equal(t, "1:pear:2 2:apple:3 3:pear:1", s.one(s.stock, `select string_agg(concat_ws(':', line_no, product_id, qty), ' ' order by line_no)
			from stock_ledger where order_id = $1 and op = $2`, id, op))
	}
	placed := s.eventsOf(events.OrderEvents, id, events.OrderPlaced)
	confirmed := s.eventsOf(events.OrderEvents, id, events.OrderConfirmed)
	require.Len(t, placed, 1)
	require.Len(t, confirmed, 1)
	assert.Equal(t, id, string(placed[0].Key))
	assert.Equal(t, placed[0].Partition, confirmed[0].Partition)
	assert.Equal(t, s.one(s.orders, `select event_id from orders where order_id = $1`, id), string(confirmed[0].Headers[0].Value))
	assert.Equal(t, 409, s.call(http.MethodDelete, s.orderURL+"/api/v1/orders/"+id, "", "").Status)
	s.published()
	s.settled("stock", events.OrderEvents)
	s.settled("order", events.StockEvents)
}

func TestOrderWithoutStockIsCancelled(t *testing.T) {
	s := startedStack(t, nil)
	s.seed("apple", 10)
	s.seed("pear", 1)
	id := s.place(`{"lines":[{"productId":"apple","qty":3},{"productId":"pear","qty":2}],"paymentAmt":7}`)
	s.awaitStatus(id, "CANCELLED")
	s.published()
	s.settled("stock", events.OrderEvents)
	assert.Equal(t, "10 0 0", s.levels("apple"))
	assert.Equal(t, "REJECTED", s.one(s.stock, `select status from reservations where order_id = $1`, id))
	assert.Equal(t, "insufficient stock: 2 of pear", reasonOf(t, s.eventsOf(events.OrderEvents, id, events.OrderCancelled)))
	again := s.call(http.MethodDelete, s.orderURL+"/api/v1/orders/"+id, "", "")
	assert.Equal(t, 200, again.Status)
	assert.Equal(t, "CANCELLED", again.text("status"))
}

func reasonOf(t *testing.T, records []*kgo.Record) string {
	require.Len(t, records, 1)
	e, err := events.Decode(records[0].Value)
	require.NoError(t, err)
	return e.Reason
}

func TestCancelBeforeStockAnswersReleasesWhatItReserves(t *testing.T) {
	s := newStack(t, nil)
	s.seed("apple", 10)
	s.startOrder()
	s.awaitReady(s.orderURL)
	id := s.place(`{"productId":"apple","qty":3,"paymentAmt":1}`)
	assert.Equal(t, 200, s.call(http.MethodDelete, s.orderURL+"/api/v1/orders/"+id, "", "").Status)
	s.startStock()
	s.await(func() string { return s.one(s.stock, `select status from reservations where order_id = $1`, id) }, "RELEASED", "reservation")
	assert.Equal(t, "10 0 0", s.levels("apple"))
	s.await(func() string { return s.one(s.orders, `select outcome from inbox`) }, "ignored", "outcome of the late answer")
	assert.Equal(t, "CANCELLED", s.status(id))
}

func TestPlacing(t *testing.T) {
	s := newStack(t, map[string]string{"PRODUCT_CACHE_TTL": "0s"})
	s.startOrder()
	s.awaitReady(s.orderURL)
	const body = `{"productId":"apple","qty":1,"paymentAmt":5}`
	first := s.post("key-1", body)
	require.Equal(t, 201, first.Status, "an unreachable stock service refuses nothing")

	second := s.post("key-1", body)
	assert.Equal(t, 200, second.Status)
	assert.Equal(t, first.text("orderId"), second.text("orderId"))
	assert.Equal(t, 422, s.post("key-1", `{"productId":"apple","qty":2,"paymentAmt":5}`).Status)

	const named = `{"orderId":"o-1","productId":"apple","qty":1,"paymentAmt":5}`
	assert.Equal(t, 201, s.post("key-2", named).Status)
	assert.Equal(t, 200, s.post("key-2", named).Status)
	assert.Equal(t, 409, s.post("", named).Status)
	assert.Equal(t, 409, s.post("key-3", named).Status)
	assert.Equal(t, "0", s.one(s.orders, `select count(*)::text from idempotency_keys where idempotency_key = 'key-3'`))
	assert.Equal(t, 404, s.call(http.MethodGet, s.orderURL+"/api/v1/orders/none", "", "").Status)
	assert.Equal(t, 404, s.call(http.MethodDelete, s.orderURL+"/api/v1/orders/none", "", "").Status)

	for _, bad := range []string{``, `{`, `{}`, `{"productId":"a","qty":0}`, `{"productId":"a","qty":-1}`, `{"productId":"a/b","qty":1}`,
		`{"productId":"a","qty":1,"lines":[{"productId":"a","qty":1}]}`, `{"lines":[]}`, `{"productId":"a","qty":1,"paymentAmt":-1}`,
		`{"orderId":"a b","productId":"a","qty":1}`, `{"productId":"a","qty":1.5}`, `{"productId":"a\u0000","qty":1}`} {
		assert.Equal(t, 400, s.post("", bad).Status, "%s", bad)
	}
	assert.Equal(t, 400, s.post(strings.Repeat("k", 129), body).Status)

	s.startStock()
	s.awaitReady(s.stockURL)
	assert.Equal(t, 422, s.post("", `{"productId":"unknown","qty":1,"paymentAmt":5}`).Status)
	s.seed("apple", 1)
	assert.Equal(t, 201, s.post("", body).Status)
}

func TestTryConfirmCancel(t *testing.T) {
	s := newStack(t, map[string]string{"RESERVATION_TTL": "10m", "SWEEP_INTERVAL": "20ms"})
	s.seed("apple", 10)
	s.startStock()
	s.awaitReady(s.stockURL)
	base := s.stockURL + "/api/v1/stocks"
	try := func(key, body string) (answer, string) {
		a := s.call(http.MethodPost, base, key, body)
		return a, base + "/" + a.text("reservationId")
	}

	made, url := try("k", `{"productId":"apple","qty":4}`)
	require.Equal(t, 201, made.Status)
	assert.Equal(t, "RESERVED", made.text("status"))
	assert.NotEmpty(t, made.Body["expiresAt"])
	again, _ := try("k", `{"productId":"apple","qty":4}`)
	assert.Equal(t, made.text("reservationId"), again.text("reservationId"))
	other, _ := try("k", `{"productId":"apple","qty":5}`)
	assert.Equal(t, 422, other.Status)
	assert.Equal(t, "6 4 0", s.levels("apple"))
	for range 2 {
		assert.Equal(t, 200, s.call(http.MethodPut, url, "", "").Status)
	}
	assert.Equal(t, "6 0 4", s.levels("apple"))
	assert.Equal(t, 409, s.call(http.MethodDelete, url, "", "").Status)

	_, url = try("", `{"lines":[{"productId":"apple","qty":1},{"productId":"apple","qty":2}]}`)
	for range 2 {
		assert.Equal(t, 204, s.call(http.MethodDelete, url, "", "").Status)
	}
	assert.Equal(t, 409, s.call(http.MethodPut, url, "", "").Status)
	assert.Equal(t, "6 0 4", s.levels("apple"))

	short, _ := try("", `{"lines":[{"productId":"apple","qty":6},{"productId":"apple","qty":1}]}`)
	assert.Equal(t, 409, short.Status)
	assert.Equal(t, "6 0 4", s.levels("apple"))

	_, url = try("", `{"productId":"apple","qty":1}`)
	owned, ownedURL := try("", `{"orderId":"o-1","productId":"apple","qty":2}`)
	assert.Nil(t, owned.Body["expiresAt"])
	assert.Equal(t, "3 3 4", s.levels("apple"))
	s.exec(s.stock, `update reservations set expires_at = expires_at - interval '10 minutes' where status = 'RESERVED'`)
	s.awaitLevels("apple", "4 2 4") // the first expired
	assert.Equal(t, 410, s.call(http.MethodPut, url, "", "").Status)
	assert.Equal(t, 204, s.call(http.MethodDelete, url, "", "").Status)
	assert.Equal(t, 200, s.call(http.MethodPut, ownedURL, "", "").Status, "a reservation of an order never expires")

	for _, method := range []string{http.MethodPut, http.MethodDelete} {
		assert.Equal(t, 404, s.call(method, base+"/none", "", "").Status)
	}
	assert.Equal(t, 404, s.call(http.MethodGet, base+"/none", "", "").Status)
	got := s.call(http.MethodGet, base+"/apple", "", "")
	assert.Equal(t, "4 0 6", fmt.Sprintf("%v %v %v", got.Body["available"], got.Body["reserved"], got.Body["sold"]))
	assert.Equal(t, "10", s.one(s.stock, `select sum(case op when 'reserve' then -qty when 'release' then qty when 'initial' then qty else 0 end
		+ case op when 'reserve' then qty when 'initial' then 0 else -qty end + case op when 'sell' then qty else 0 end)::text from stock_ledger`))
}

func TestConfirmAfterExpiryIsRefusedBeforeTheSweep(t *testing.T) {
	s := newStack(t, map[string]string{"RESERVATION_TTL": "10ms", "SWEEP_INTERVAL": "1h"})
	s.seed("apple", 1)
	s.startStock()
	s.awaitReady(s.stockURL)
	made := s.call(http.MethodPost, s.stockURL+"/api/v1/stocks", "", `{"productId":"apple","qty":1}`)
	require.Equal(t, 201, made.Status)
	s.await(func() string {
		return s.one(s.stock, `select (expires_at < clock_timestamp())::text from reservations`)
	}, "true", "expiry")
	assert.Equal(t, 410, s.call(http.MethodPut, s.stockURL+"/api/v1/stocks/"+made.text("reservationId"), "", "").Status)
	assert.Equal(t, "0 1 0", s.levels("apple"))
}

func TestContendedOrderIsDeadLetteredAndSwept(t *testing.T) {
	s := startedStack(t, map[string]string{"ORDER_TTL": "700ms", "SWEEP_INTERVAL": "20ms", "LOCK_TIMEOUT": "20ms", "RETRY_BACKOFF": "5ms"})
	s.seed("apple", 10)
	ctx := context.Background()
	tx, err := s.stock.Begin(ctx)
	require.NoError(t, err)
	defer tx.Rollback(ctx)
	_, err = tx.Exec(ctx, `select * from stock for update`)
	require.NoError(t, err)
	id := s.place(`{"productId":"apple","qty":3,"paymentAmt":1}`)
	s.await(func() string { return s.one(s.stock, `select outcome from inbox where topic = $1`, events.OrderEvents) }, "dead-lettered", "outcome")
	require.NoError(t, tx.Rollback(ctx))
	s.awaitStatus(id, "CANCELLED")
	s.await(func() string { return fmt.Sprint(len(s.records("dlt-order-events"))) }, "1", "dead letters")
	original, letter := s.eventsOf(events.OrderEvents, id, events.OrderPlaced)[0], s.records("dlt-order-events")[0]
	assert.Equal(t, original.Value, letter.Value)
	assert.Equal(t, original.Key, letter.Key)
	assert.Equal(t, original.Partition, letter.Partition)
	headers := headersOf(letter)
	assert.Equal(t, string(original.Headers[0].Value), headers["event_id"])
	assert.Equal(t, events.OrderEvents, headers["dlt-original-topic"])
	assert.Equal(t, fmt.Sprint(original.Partition), headers["dlt-original-partition"])
	assert.Equal(t, fmt.Sprint(original.Offset), headers["dlt-original-offset"])
	assert.Equal(t, "stock", headers["dlt-consumer"])
	assert.Contains(t, headers["dlt-error"], "55P03")
	s.settled("stock", events.OrderEvents)
	assert.Equal(t, "10 0 0", s.levels("apple"))
}

func headersOf(record *kgo.Record) map[string]string {
	headers := map[string]string{}
	for _, h := range record.Headers {
		headers[h.Key] = string(h.Value)
	}
	return headers
}

func TestDecisionOutlastsContention(t *testing.T) {
	s := startedStack(t, map[string]string{"LOCK_TIMEOUT": "20ms", "RETRY_BACKOFF": "5ms", "RETRY_ATTEMPTS": "2"})
	s.seed("apple", 10)
	ctx := context.Background()
	s.exec(s.orders, `insert into orders (order_id, status, version, payment_amt, event_id) values ('o-1', 'CONFIRMED', 2, 1, 'e-2')`)
	reserved := s.call(http.MethodPost, s.stockURL+"/api/v1/stocks", "", `{"orderId":"o-1","productId":"apple","qty":3}`)
	require.Equal(t, 201, reserved.Status)
	tx, err := s.stock.Begin(ctx)
	require.NoError(t, err)
	defer tx.Rollback(ctx)
	_, err = tx.Exec(ctx, `select * from stock for update`)
	require.NoError(t, err)
	s.produce(eventRecord(events.OrderEvents, events.Event{ID: "e-2", Type: events.OrderConfirmed, OrderID: "o-1", Version: 2, Lines: lines("apple", 3)}))
	s.never(func() string { return s.one(s.stock, `select outcome from inbox`) }, "dead-lettered", 400*time.Millisecond)
	require.NoError(t, tx.Rollback(ctx))
	s.awaitLevels("apple", "7 0 3")
}

func TestConfirmationWithoutReservationIsDeadLettered(t *testing.T) {
	s := startedStack(t, map[string]string{"RETRY_BACKOFF": "5ms"})
	s.seed("apple", 10)
	s.produce(eventRecord(events.OrderEvents, events.Event{ID: "e-1", Type: events.OrderConfirmed, OrderID: "o-1", Version: 2, Lines: lines("apple", 1)}))
	s.produce(eventRecord(events.OrderEvents, events.Event{ID: "e-2", Type: events.OrderCancelled, OrderID: "o-2", Version: 2, Lines: lines("apple", 1)}))
	outcome := func(id string) func() string {
		return func() string { return s.one(s.stock, `select outcome from inbox where event_id = $1`, id) }
	}
	s.await(outcome("e-1"), "dead-lettered", "outcome of a confirmation that sells nothing")
	s.await(outcome("e-2"), "ignored", "outcome of a cancellation that releases nothing")
}

func TestSettingsAreRefusedByName(t *testing.T) {
	for name, value := range map[string]string{"HTTP_ADDR": "nowhere", "DATABASE_URL": "", "WITHOUT": "inbx-dedup", "ORDER_TTL": "soon"} {
		code, log := runOrder(t, map[string]string{name: value})
		assert.Equal(t, 64, code)
		assert.Regexp(t, "^"+name+": [^\n]+\n$", log)
	}
}
