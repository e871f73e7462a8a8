package services_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/events"
)

// locked holds every row of stock until it is called.
func (s *stack) locked() (unlock func()) {
	tx, err := s.stock.Begin(context.Background())
	require.NoError(s.t, err)
	unlock = func() { _ = tx.Rollback(context.Background()) }
	s.t.Cleanup(unlock)
	_, err = tx.Exec(context.Background(), `select * from stock for update`)
	require.NoError(s.t, err)
	return unlock
}

// outcomes lists what the inbox of stock says, in the order of offsets.
func (s *stack) outcomes() string {
	return s.one(s.stock, `select coalesce(string_agg(i.outcome, ' ' order by i.record_offset), '') from inbox i`)
}

func TestDeadLetterIsReplayed(t *testing.T) {
	s := startedStack(t, map[string]string{
		"PARTS": services.Redrive, "REDRIVE_INTERVAL": "400ms", "LOCK_TIMEOUT": "20ms", "RETRY_BACKOFF": "5ms",
	})
	s.seed("apple", 10)
	unlock := s.locked()
	id := s.place(`{"productId":"apple","qty":3,"paymentAmt":1}`)
	s.await(s.outcomes, "dead-lettered", "outcome")
	unlock()
	s.awaitStatus(id, "CONFIRMED")
	s.awaitLevels("apple", "7 0 3")
	s.await(s.outcomes, "replayed applied", "outcomes")
	assert.Len(t, s.records("dlt-order-events"), 1)
}

func TestOvertakenDeadLetterStaysOne(t *testing.T) {
	s := startedStack(t, map[string]string{
		"PARTS": services.Redrive, "REDRIVE_INTERVAL": "1s", "LOCK_TIMEOUT": "20ms", "RETRY_BACKOFF": "5ms",
	})
	s.seed("apple", 10)
	unlock := s.locked()
	id := s.place(`{"productId":"apple","qty":3,"paymentAmt":1}`)
	s.await(s.outcomes, "dead-lettered", "outcome")
	require.Equal(t, 200, s.call(http.MethodDelete, s.orderURL+"/api/v1/orders/"+id, "", "").Status)
	s.await(s.outcomes, "dead-lettered ignored", "outcomes")
	unlock()
	rounds := func() string {
		return s.one(s.stock, `select replays::text from inbox where outcome = 'dead-lettered'`)
	}
	s.await(rounds, fmt.Sprint(services.RedriveRounds), "rounds")
	assert.Equal(t, "10 0 0", s.levels("apple"), "nothing is reserved for a dead order")
}

func TestRecordsQueueBehindOneInTheRetryTopic(t *testing.T) {
	s := startedStack(t, map[string]string{
		"PARTS": services.RetryTopics, "LOCK_TIMEOUT": "20ms", "RETRY_BACKOFF": "50ms", "RETRY_ATTEMPTS": "50",
	})
	s.seed("apple", 10)
	unlock := s.locked()
	parked := func() string { return s.one(s.stock, `select count(*)::text from parked`) }
	id := s.place(`{"productId":"apple","qty":3,"paymentAmt":1}`)
	s.await(parked, "1", "parked records")
	require.Equal(t, 200, s.call(http.MethodDelete, s.orderURL+"/api/v1/orders/"+id, "", "").Status)
	s.await(parked, "2", "parked records")
	s.settled("stock", events.OrderEvents) // its partition went on
	assert.Empty(t, s.outcomes())
	unlock()
	s.await(parked, "0", "parked records")
	assert.Equal(t, "applied applied", s.outcomes())
	assert.Equal(t, "10 0 0", s.levels("apple"), "reserved, and then released")
	assert.Equal(t, "RELEASED", s.one(s.stock, `select status from reservations`))
	s.settled("stock", "retry-order-events")
}

func TestDirectDeadLetter(t *testing.T) {
	s := startedStack(t, map[string]string{"PARTS": services.DirectDeadLetter, "RETRY_BACKOFF": "5ms"})
	s.seed("apple", 10)
	s.produce(eventRecord(events.OrderEvents, events.Event{ID: "e-1", Type: events.OrderConfirmed, OrderID: "o-1", Version: 2, Lines: lines("apple", 1)}))
	s.await(s.outcomes, "dead-lettered", "outcome")
	letters := s.records("dlt-order-events") // produced before that was written
	require.Len(t, letters, 1)
	assert.Equal(t, "stock", headersOf(letters[0])["dlt-consumer"])
	assert.Equal(t, "0", s.one(s.stock, `select count(*)::text from outbox`))
	s.again(s.records(events.OrderEvents)[0])
	s.settled("stock", events.OrderEvents)
	assert.Len(t, s.records("dlt-order-events"), 1, "it has an outcome")
}
