package inbox

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/broker"
	"github.com/ordeal-chaos/ordeal/services/internal/events"
	"github.com/ordeal-chaos/ordeal/services/internal/guard"
)

func consumed() broker.Record {
	e := events.Event{ID: "e", Type: events.OrderPlaced, OrderID: "o", Version: 1, Lines: []events.Line{{LineNo: 1, ProductID: "p", Qty: 1}}}
	return broker.Record{
		Topic: "t", Partition: 2, Offset: 7, Key: []byte("o"), Value: e.Encode(),
		Headers: []broker.Header{{Key: "event_id", Value: []byte("e")}, {Key: "trace", Value: []byte{0xff}}, {Key: "trace", Value: nil}},
	}
}

// came returns a message as a consumer would get it, at another place.
func came(m broker.Message) broker.Record {
	return broker.Record{Topic: m.Topic, Partition: *m.Partition, Offset: 99, Key: m.Key, Headers: m.Headers, Value: m.Value}
}

func TestRetriesAndDeadLettersGiveTheRecordBack(t *testing.T) {
	p := &Processor{Group: "g", Topics: []string{"t"}}
	first, ok, err := p.arrived(t.Context(), consumed())
	require.NoError(t, err)
	require.True(t, ok)
	assert.False(t, first.parked)
	assert.Equal(t, "o", first.event.OrderID)

	first.attempts = 1
	message := first.message(time.Now())
	assert.Equal(t, "retry-t", message.Topic)
	second, ok, err := p.arrived(t.Context(), came(message))
	require.NoError(t, err)
	require.True(t, ok)
	assert.Equal(t, consumed(), second.record)
	assert.True(t, second.parked)
	assert.Equal(t, [2]int{1, 1}, [2]int{second.attempts, second.round})
	third, _, err := p.arrived(t.Context(), came(second.message(time.Now())))
	require.NoError(t, err)
	assert.Equal(t, consumed(), third.record)
	assert.Equal(t, 2, third.round)
	assert.False(t, third.parkedAs(1), "of an earlier round than the table")

	other := &Processor{Group: "h", Topics: []string{"t"}}
	_, ok, err = other.arrived(t.Context(), came(message))
	require.NoError(t, err)
	assert.False(t, ok, "set aside by another consumer")

	original, ok := originalOf(came(deadLetterOf(third.record, "g", errors.New("no"))))
	assert.True(t, ok)
	assert.Equal(t, consumed(), original)
}

func TestRetryOfNothing(t *testing.T) {
	p := &Processor{Topics: []string{"t"}, Log: discard}
	stray := consumed()
	stray.Topic = "retry-t"
	_, ok, err := p.arrived(t.Context(), stray)
	require.NoError(t, err)
	assert.False(t, ok)
	for _, missing := range []string{headerTopic, headerPartition, headerOffset} {
		letter := came(deadLetterOf(consumed(), "g", errors.New("no")))
		for i, h := range letter.Headers {
			if h.Key == missing {
				letter.Headers[i].Key = "x"
			}
		}
		_, ok := originalOf(letter)
		assert.False(t, ok, missing)
	}
}

func TestRetryWaitsUntilItIsDue(t *testing.T) {
	p := &Processor{Topics: []string{"t"}}
	w, _, err := p.arrived(t.Context(), consumed())
	require.NoError(t, err)
	const delay = 60 * time.Millisecond
	began := time.Now()
	_, _, err = p.arrived(t.Context(), came(w.message(began.Add(delay))))
	require.NoError(t, err)
	assert.GreaterOrEqual(t, time.Since(began), delay-time.Millisecond)
}

func TestInboxKey(t *testing.T) {
	p := &Processor{}
	assert.Equal(t, "e", p.receipt(consumed(), events.Event{ID: "e", OrderID: "o"}).key())
	p.Guards = guard.New(services.Without{services.DedupByEvent}, discard)
	assert.Equal(t, "o", p.receipt(consumed(), events.Event{ID: "e", OrderID: "o"}).key())
	assert.Equal(t, "e", p.receipt(consumed(), events.Event{ID: "e"}).key())
}

func TestOvertakenIsForGood(t *testing.T) {
	assert.True(t, Retry{}.counts(classify(errOvertaken), events.OrderConfirmed))
}
