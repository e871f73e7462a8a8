package order

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/ordeal-chaos/ordeal/services/internal/app"
	"github.com/ordeal-chaos/ordeal/services/internal/events"
)

const (
	// askTimeout bounds one call of a participant. It is shorter than the lease of a coordination.
	askTimeout = 400 * time.Millisecond
	// answerLimit bounds what is read of an answer.
	answerLimit = 64 << 10
)

// ask calls a participant over REST. The error is a Problem when the participant understood and refused, with the status
// and text of its answer; any other error leaves it open whether the call took effect, or will.
func (s *service) ask(ctx context.Context, method, url, key string, body any) error {
	status, answer, err := s.exchange(ctx, method, url, key, body)
	if err == nil && status >= 400 {
		err = app.Refuse(status, "%s", bytes.TrimSpace(answer))
	}
	return err
}

// exchange calls a participant and returns its answer. An answer of 500 or more is an error.
func (s *service) exchange(ctx context.Context, method, url, key string, body any) (status int, answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	data, err := json.Marshal(body)
	if err != nil {
		return 0, nil, fmt.Errorf("encode request: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(data))
	if err != nil {
		return 0, nil, fmt.Errorf("ask participant: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	if key != "" {
		request.Header.Set("Idempotency-Key", key)
	}
	response, err := s.products.client.Do(request)
	if err != nil {
		return 0, nil, fmt.Errorf("ask participant: %w", err)
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(response.Body, answerLimit))
	if err != nil {
		return 0, nil, fmt.Errorf("ask participant: %w", err)
	}
	if response.StatusCode >= 500 {
		return 0, nil, fmt.Errorf("ask participant: %s %s answered %s", method, url, response.Status)
	}
	return response.StatusCode, answer, nil
}

// tryStock asks the stock service to reserve the lines of an order.
func (s *service) tryStock(ctx context.Context, orderID string, lines []events.Line) error {
	return s.ask(ctx, http.MethodPost, s.stockOf(orderID), "", app.GoodsOf(lines))
}

// confirmStock asks the stock service to sell what it reserved for an order.
func (s *service) confirmStock(ctx context.Context, orderID string) error {
	return s.ask(ctx, http.MethodPut, s.stockOf(orderID), "", nil)
}

// cancelStock asks the stock service to give back what it reserved for an order, and to reserve nothing for it any more.
func (s *service) cancelStock(ctx context.Context, c *coordination) error {
	return s.ask(ctx, http.MethodDelete, s.stockOf(c.orderID), "", app.GoodsOf(c.lines))
}

func (s *service) stockOf(orderID string) string {
	return s.Config.StockURL + "/api/v1/orders/" + orderID + "/stock"
}

// pay asks the payment service to charge for an order, or to hold the amount until it is confirmed or cancelled.
func (s *service) pay(ctx context.Context, c *coordination, hold bool) error {
	return s.ask(ctx, http.MethodPost, s.Config.PaymentURL+"/api/v1/payments", "order-"+c.orderID,
		map[string]any{"orderId": c.orderID, "amount": c.amount, "hold": hold})
}

// confirmPayment asks the payment service to capture what it holds for an order.
func (s *service) confirmPayment(ctx context.Context, orderID string) error {
	return s.ask(ctx, http.MethodPut, s.Config.PaymentURL+"/api/v1/payments/"+orderID, "", nil)
}

// cancelPayment asks the payment service to give back what it charged or holds for an order, and to charge nothing for it any more.
func (s *service) cancelPayment(ctx context.Context, orderID string) error {
	return s.ask(ctx, http.MethodDelete, s.Config.PaymentURL+"/api/v1/payments/"+orderID, "", nil)
}
