package events

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEncodeDecode(t *testing.T) {
	amount := int64(0)
	e := Event{ID: "e", Type: OrderPlaced, OrderID: "o", Version: 1, Lines: []Line{{1, "p", 2}}, PaymentAmt: &amount}
	assert.JSONEq(t, `{"eventId":"e","type":"OrderPlaced","orderId":"o","version":1,"lines":[{"lineNo":1,"productId":"p","qty":2}],"paymentAmt":0}`, string(e.Encode()))
	decoded, err := Decode(e.Encode())
	require.NoError(t, err)
	assert.Equal(t, e, decoded)
}

func TestDecodeRefuses(t *testing.T) {
	for _, value := range []string{
		"", "null", "{", "\xff", `{"eventId":"e","type":"OrderLost","orderId":"o","lines":[{"lineNo":1,"productId":"p","qty":2}]}`,
		`{"eventId":"e","type":"OrderPlaced","lines":[{"lineNo":1,"productId":"p","qty":2}]}`,
		`{"type":"OrderPlaced","orderId":"o","lines":[{"lineNo":1,"productId":"p","qty":2}]}`,
		`{"eventId":"e","type":"OrderPlaced","orderId":"o"}`,
		`{"eventId":"e","type":"OrderPlaced","orderId":"o","lines":[{"lineNo":1,"productId":"p","qty":0}]}`,
		`{"eventId":"e","type":"OrderPlaced","orderId":"o","lines":[{"lineNo":1,"qty":1}]}`,
	} {
		_, err := Decode([]byte(value))
		assert.ErrorIs(t, err, ErrInvalid, "%q", value)
	}
	e, _ := Decode([]byte(`{"eventId":"e","type":"OrderLost"}`))
	assert.Equal(t, "e", e.ID, "an invalid event still says who it is")
}
