// Package events owns the events that the services exchange: their types, topics and encoding.
package events

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/ordeal-chaos/ordeal/services"
)

// Topics, and the prefix that makes the name of a topic's dead-letter topic.
const (
	OrderEvents      = services.OrderEvents
	StockEvents      = services.StockEvents
	PaymentEvents    = services.PaymentEvents
	DeadLetterPrefix = services.DeadLetterPrefix
)

// Types of events: the first four are produced by order, two by stock, and the last three by payment.
const (
	OrderPlaced    = "OrderPlaced"
	OrderConfirmed = "OrderConfirmed"
	OrderCancelled = "OrderCancelled"
	StockRollback  = "StockRollback" // the order that stock was taken for was rolled back
	StockReserved  = "StockReserved"
	StockRejected  = "StockRejected"

	PaymentCaptured = "PaymentCaptured"
	PaymentDeclined = "PaymentDeclined"
	PaymentRefunded = "PaymentRefunded"
)

// Names of record headers.
const (
	HeaderID   = "event_id"
	HeaderType = "event_type"
)

// ErrInvalid is wrapped by every error that says that a record holds no valid event: trying again cannot help.
var ErrInvalid = errors.New("invalid event")

// Event is one fact about one order. Version is the version of the order (or of the answer, or of the payment) it announces.
type Event struct {
	ID         string `json:"eventId"`
	Type       string `json:"type"`
	OrderID    string `json:"orderId"`
	Version    int    `json:"version"`
	Reason     string `json:"reason,omitempty"`
	Lines      []Line `json:"lines,omitempty"`      // of order and stock events
	PaymentAmt *int64 `json:"paymentAmt,omitempty"` // what the order costs, and in payment events what was moved
}

// Line is one line of an order: Qty units of one product. LineNo counts from 1.
type Line struct {
	LineNo    int    `json:"lineNo"`
	ProductID string `json:"productId"`
	Qty       int64  `json:"qty"`
}

// NewID returns an id that no other event, order or reservation has.
func NewID() string { return uuid.NewString() }

// Encode returns the record value of e.
func (e Event) Encode() []byte {
	value, err := json.Marshal(e)
	if err != nil {
		panic(err) // strings and integers always encode
	}
	return value
}

// Decode reads a record value. The error wraps ErrInvalid.
func Decode(value []byte) (Event, error) {
	var e Event
	if err := json.Unmarshal(value, &e); err != nil {
		return Event{}, fmt.Errorf("%w: decode value: %w", ErrInvalid, err)
	}
	paid := false
	switch e.Type {
	case OrderPlaced, OrderConfirmed, OrderCancelled, StockRollback, StockReserved, StockRejected:
	case PaymentCaptured, PaymentDeclined, PaymentRefunded:
		paid = true
	default:
		return e, fmt.Errorf("%w: unknown type %q", ErrInvalid, e.Type)
	}
	if e.ID == "" || e.OrderID == "" {
		return e, fmt.Errorf("%w: an event needs eventId and orderId", ErrInvalid)
	}
	if len(e.Lines) == 0 && !paid {
		return e, fmt.Errorf("%w: no lines", ErrInvalid)
	}
	for _, line := range e.Lines {
		if line.ProductID == "" || line.Qty < 1 {
			return e, fmt.Errorf("%w: line %d: %d of product %q", ErrInvalid, line.LineNo, line.Qty, line.ProductID)
		}
	}
	return e, nil
}
