package outbox

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/services/internal/broker"
)

func TestHeaders(t *testing.T) {
	assert.JSONEq(t, `{"event_id":"e","event_type":"OrderPlaced"}`, encodeHeaders([]broker.Header{
		{Key: "event_id", Value: []byte("e")}, {Key: "event_type", Value: []byte("OrderPlaced")},
	}))
	headers := []broker.Header{
		{Key: "binary", Value: []byte{0xff}}, {Key: "empty", Value: []byte{}}, {Key: "null"},
		{Key: "nul", Value: []byte{0}}, {Key: "twice", Value: []byte("1")}, {Key: "twice", Value: []byte{0xfe}},
	}
	decoded, err := decodeHeaders([]byte(encodeHeaders(headers)))
	require.NoError(t, err)
	assert.ElementsMatch(t, headers, decoded)
	assert.NotContains(t, encodeHeaders([]broker.Header{{Key: "\x00"}}), `"\u0000"`, "Postgres has no such JSON")

	_, err = decodeHeaders([]byte(`{"a":1}`))
	assert.Error(t, err)
}
