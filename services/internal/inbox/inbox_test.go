package inbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"

	"github.com/ordeal-chaos/ordeal/services/internal/broker"
	"github.com/ordeal-chaos/ordeal/services/internal/db"
	"github.com/ordeal-chaos/ordeal/services/internal/events"
)

var discard = slog.New(slog.DiscardHandler)

func TestWhatUsesUpAnAttempt(t *testing.T) {
	sqlstate := func(code string) error { return fmt.Errorf("effect: %w", &pgconn.PgError{Code: code}) }
	for name, test := range map[string]struct {
		err             error
		placed, decided bool // whether it counts
	}{
		"invalid record":         {fmt.Errorf("%w: x", events.ErrInvalid), true, true},
		"stale":                  {fmt.Errorf("%w: x", ErrStale), true, true},
		"undefined column":       {sqlstate("42703"), true, true},
		"lock timeout":           {sqlstate("55P03"), true, false},
		"deadlock":               {sqlstate("40P01"), true, false},
		"contended":              {fmt.Errorf("%w: x", db.ErrContended), true, false},
		"statement timeout":      {sqlstate("57014"), true, false},
		"server terminated":      {sqlstate("57P01"), false, false},
		"server starting":        {sqlstate("57P03"), false, false},
		"too many connections":   {sqlstate("53300"), false, false},
		"session timed out":      {sqlstate("25P03"), false, false},
		"connection cut":         {io.ErrUnexpectedEOF, false, false},
		"stalled":                {context.DeadlineExceeded, false, false},
		"commit without answer":  {fmt.Errorf("%w: %w", db.ErrOutcomeUnknown, io.EOF), false, false},
		"produce without answer": {errors.New("produce to order-events/1: EOF"), false, false},
	} {
		class := classify(test.err)
		assert.Equal(t, test.placed, Retry{}.counts(class, events.OrderPlaced), name)
		for _, decided := range []string{events.OrderConfirmed, events.OrderCancelled} {
			assert.Equal(t, test.decided, Retry{}.counts(class, decided), name)
		}
	}
}

func TestDelay(t *testing.T) {
	retry := Retry{Backoff: 50 * time.Millisecond}
	var delays []time.Duration
	for failures := 1; failures <= 7; failures++ {
		delays = append(delays, retry.delay(failures)/time.Millisecond)
	}
	assert.Equal(t, []time.Duration{50, 100, 200, 400, 500, 500, 500}, delays)
	assert.Equal(t, maxBackoff, retry.delay(1<<30))
	fixed := Retry{Backoff: time.Second, Fixed: true}
	assert.Equal(t, []time.Duration{time.Second, time.Second}, []time.Duration{fixed.delay(1), fixed.delay(3)})
	assert.Equal(t, 3*time.Second, Retry{Backoff: 3 * time.Second}.delay(5), "a longer setting is obeyed")
}

func TestPauseEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, Retry{Backoff: time.Hour}.pause(ctx, 1), context.Canceled)
}

func TestEventID(t *testing.T) {
	record := func(headerID string) broker.Record {
		return broker.Record{Topic: "t", Partition: 2, Offset: 7, Headers: []broker.Header{{Key: "event_id", Value: []byte(headerID)}}}
	}
	assert.Equal(t, "h", eventID(record("h"), events.Event{}), "the value could not be read")
	assert.Equal(t, "h", eventID(record("h"), events.Event{ID: "h"}))
	assert.Equal(t, "v", eventID(record("h"), events.Event{ID: "v"}), "a wrong header must not mask another event")
	assert.Equal(t, "v", eventID(broker.Record{}, events.Event{ID: "v"}))
	for _, unreadable := range []string{"", "\x00", "\xff", strings.Repeat("x", 1000)} {
		assert.Equal(t, "t/2@7", eventID(record(unreadable), events.Event{ID: unreadable}), "%q", unreadable)
	}
}

func TestDeadLetterKeepsTheRecord(t *testing.T) {
	headers := make([]broker.Header, 1, 10) // with room that an append could write to
	headers[0] = broker.Header{Key: "event_id", Value: []byte("e")}
	record := broker.Record{Topic: "t", Partition: 2, Offset: 7, Key: []byte{0xff}, Value: nil, Headers: headers}
	letter := deadLetterOf(record, "g", errors.New("bad\x00 \xff"+strings.Repeat("é", 400)))
	assert.Equal(t, "dlt-t", letter.Topic)
	assert.Equal(t, int32(2), *letter.Partition)
	assert.Equal(t, record.Key, letter.Key)
	assert.Nil(t, letter.Value)
	assert.Equal(t, headers[0], letter.Headers[0])
	assert.Empty(t, headers[:2][1].Key, "the record's own headers are not written to")
	text := string(letter.Headers[len(letter.Headers)-1].Value)
	assert.True(t, utf8.ValidString(text))
	assert.NotContains(t, text, "\x00")
	assert.LessOrEqual(t, len(text), 510)
}
