package observe

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// ErrNotApplied is wrapped by the error of an attempt that provably had no effect. Every other error
// means that the attempt may have had one, now or later.
var ErrNotApplied = errors.New("not applied")

// ClientConfig says how a [Client] reaches one service.
type ClientConfig struct {
	Name        string // of the client, in its operations; "client" when empty
	Link        string // through which it goes, in its operations: "client->order"
	URL         string // base URL of the link
	Recorder    *history.Recorder
	Timeout     time.Duration // of one attempt; 2 s when zero
	RetryEvery  time.Duration // first wait between attempts, doubled up to ten times as much; 50 ms when zero
	NoKeepAlive bool          // a connection for every attempt
	Dial        DialFunc      // nil dials directly
}

// Client calls the reference HTTP API and records every attempt: its invocation before anything is
// sent, and its completion as ok, fail or info. It is safe for concurrent use.
type Client struct {
	config ClientConfig
	http   *http.Client
}

// NewClient returns a client with a connection pool of its own.
func NewClient(config ClientConfig) *Client {
	config.Name = cmp.Or(config.Name, "client")
	config.Timeout = cmp.Or(config.Timeout, 2*time.Second)
	config.RetryEvery = cmp.Or(config.RetryEvery, 50*time.Millisecond)
	return &Client{config: config, http: newHTTP(config)}
}

// As returns the client under another name. Both share one connection pool.
func (c *Client) As(name string) *Client {
	other := *c
	other.config.Name = name
	return &other
}

// Close closes the idle connections of the pool.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Answer is how one attempt ended.
type Answer struct {
	Outcome     string // history.OK, history.Fail or history.Info
	Status      int    // HTTP status, 0 when there was no whole answer
	Order       string // id in the answer, else the one that was sent
	Reservation string // likewise
	State       string // status of the order or reservation in the answer
	Body        []byte // of the answer
	Err         error  // nil exactly when Outcome is OK; wraps ErrNotApplied exactly when it is Fail
}

// Settled says whether another attempt would ask what is already answered: the service took the request
// or refused it. An attempt that never reached the service is not settled, although it failed.
func (a Answer) Settled() bool {
	return a.Outcome == history.OK || a.Outcome == history.Fail && a.Status != 0
}

// PlaceRequest places an order.
type PlaceRequest struct {
	Key    string // idempotency key; none is sent when empty
	Order  string // the service chooses one when empty
	Lines  []history.Line
	Amount int64
	// OmitOrder leaves Order out of every retry, so that the orders' primary key cannot do the work of the
	// idempotency key.
	OmitOrder bool
}

// Place makes one attempt to place an order.
func (c *Client) Place(ctx context.Context, request PlaceRequest) Answer {
	return c.place(ctx, request, 1)
}

// PlaceUntil places an order with one key, again and again until the service settles it or the context
// ends. It returns the last answer. Every attempt is an operation of its own: none of them tells what
// an earlier one did.
func (c *Client) PlaceUntil(ctx context.Context, request PlaceRequest) Answer {
	retry := backoff{first: c.config.RetryEvery, most: 10 * c.config.RetryEvery}
	for attempt := 1; ; attempt++ {
		answer := c.place(ctx, request, attempt)
		if answer.Settled() || !retry.wait(ctx) {
			return answer
		}
		if request.OmitOrder {
			request.Order = ""
		}
	}
}

func (c *Client) place(ctx context.Context, request PlaceRequest, attempt int) Answer {
	return c.attempt(ctx, call{
		op: history.Op{
			Action: history.Place, Key: request.Key, Attempt: attempt, Order: request.Order, Lines: request.Lines,
		},
		method: http.MethodPost, path: "/api/v1/orders",
		body: placeBody(request),
	})
}

// placeBody is the API's form for one line where there is one, else the form for several.
func placeBody(request PlaceRequest) any {
	if len(request.Lines) == 1 {
		return struct {
			OrderID string `json:"orderId,omitempty"`
			bodyLine
			PaymentAmt int64 `json:"paymentAmt"`
		}{request.Order, bodyLines(request.Lines)[0], request.Amount}
	}
	return struct {
		OrderID    string     `json:"orderId,omitempty"`
		Lines      []bodyLine `json:"lines"`
		PaymentAmt int64      `json:"paymentAmt"`
	}{request.Order, bodyLines(request.Lines), request.Amount}
}

// CancelOrder makes one attempt to cancel an order.
func (c *Client) CancelOrder(ctx context.Context, order string) Answer {
	return c.attempt(ctx, call{
		op:     history.Op{Action: history.Cancel, Attempt: 1, Order: order},
		method: http.MethodDelete, path: "/api/v1/orders/" + url.PathEscape(order),
	})
}

// ReadOrder makes one attempt to read an order.
func (c *Client) ReadOrder(ctx context.Context, order string) Answer {
	return c.attempt(ctx, call{
		op:     history.Op{Action: history.ReadOrder, Attempt: 1, Order: order},
		method: http.MethodGet, path: "/api/v1/orders/" + url.PathEscape(order),
	})
}

// ReadStock makes one attempt to read the stock of a SKU. The figures are in the answer's Body.
func (c *Client) ReadStock(ctx context.Context, sku string) Answer {
	return c.attempt(ctx, call{
		op:     history.Op{Action: history.ReadStock, Attempt: 1, Lines: []history.Line{{SKU: sku}}},
		method: http.MethodGet, path: "/api/v1/stocks/" + url.PathEscape(sku),
	})
}

// ReserveRequest tries to reserve stock.
type ReserveRequest struct {
	Key   string // idempotency key; none is sent when empty
	Lines []history.Line
}

// Reserve makes one attempt to reserve stock.
func (c *Client) Reserve(ctx context.Context, request ReserveRequest) Answer {
	return c.reserve(ctx, request, 1)
}

// ReserveUntil tries to reserve with one key, again and again, as [Client.PlaceUntil] places an order.
func (c *Client) ReserveUntil(ctx context.Context, request ReserveRequest) Answer {
	retry := backoff{first: c.config.RetryEvery, most: 10 * c.config.RetryEvery}
	for attempt := 1; ; attempt++ {
		answer := c.reserve(ctx, request, attempt)
		if answer.Settled() || !retry.wait(ctx) {
			return answer
		}
	}
}

func (c *Client) reserve(ctx context.Context, request ReserveRequest, attempt int) Answer {
	return c.attempt(ctx, call{
		op:     history.Op{Action: history.Reserve, Key: request.Key, Attempt: attempt, Lines: request.Lines},
		method: http.MethodPost, path: "/api/v1/stocks",
		body: struct {
			Lines []bodyLine `json:"lines"`
		}{bodyLines(request.Lines)},
	})
}

// ConfirmReservation makes one attempt to confirm a reservation.
func (c *Client) ConfirmReservation(ctx context.Context, reservation string) Answer {
	return c.confirm(ctx, reservation, "", 1)
}

// ConfirmUntil confirms a reservation with one key, again and again, as [Client.PlaceUntil] places an order. The
// service does not need the key: confirming twice is confirming. It names the message to whoever watches the link.
func (c *Client) ConfirmUntil(ctx context.Context, reservation, key string) Answer {
	retry := backoff{first: c.config.RetryEvery, most: 10 * c.config.RetryEvery}
	for attempt := 1; ; attempt++ {
		answer := c.confirm(ctx, reservation, key, attempt)
		if answer.Settled() || !retry.wait(ctx) {
			return answer
		}
	}
}

func (c *Client) confirm(ctx context.Context, reservation, key string, attempt int) Answer {
	return c.attempt(ctx, call{
		op:     history.Op{Action: history.ConfirmStock, Key: key, Attempt: attempt, Reservation: reservation},
		method: http.MethodPut, path: "/api/v1/stocks/" + url.PathEscape(reservation),
	})
}

// ReleaseReservation makes one attempt to release a reservation.
func (c *Client) ReleaseReservation(ctx context.Context, reservation string) Answer {
	return c.attempt(ctx, call{
		op:     history.Op{Action: history.ReleaseStock, Attempt: 1, Reservation: reservation},
		method: http.MethodDelete, path: "/api/v1/stocks/" + url.PathEscape(reservation),
	})
}

// attempt records the invocation, makes the call, and records how it ended.
func (c *Client) attempt(ctx context.Context, call call) Answer {
	op := call.op
	op.ID, op.Type, op.Client, op.Link = c.config.Recorder.NextOp(), history.Invoke, c.config.Name, c.config.Link
	c.record(op)
	answer := Answer{Order: op.Order, Reservation: op.Reservation}
	answer.Status, answer.Body, answer.Err = c.send(ctx, call)
	switch {
	case answer.Err == nil:
		answer.Outcome = history.OK
	case errors.Is(answer.Err, ErrNotApplied):
		answer.Outcome = history.Fail
	default:
		answer.Outcome = history.Info
	}
	answer.read()
	op.Type, op.Status, op.State = answer.Outcome, answer.Status, answer.State
	op.Order, op.Reservation = answer.Order, answer.Reservation
	if answer.Err != nil {
		op.Error = answer.Err.Error()
	}
	c.record(op)
	return answer
}

func (c *Client) record(op history.Op) { c.config.Recorder.Append(history.Event{Op: &op}) }

// read takes ids and status from the body, where it says any.
func (a *Answer) read() {
	var body struct {
		OrderID       string `json:"orderId"`
		ReservationID string `json:"reservationId"`
		Status        string `json:"status"`
	}
	if json.Unmarshal(a.Body, &body) != nil {
		return // an error page, or no body at all: nothing is learnt from it
	}
	a.Order = cmp.Or(body.OrderID, a.Order)
	a.Reservation = cmp.Or(body.ReservationID, a.Reservation)
	a.State = body.Status
}

type bodyLine struct {
	ProductID string `json:"productId"`
	Qty       int64  `json:"qty"`
}

func bodyLines(lines []history.Line) []bodyLine {
	out := make([]bodyLine, len(lines))
	for i, line := range lines {
		out[i] = bodyLine{ProductID: line.SKU, Qty: line.Qty}
	}
	return out
}
