package order

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/app"
	"github.com/ordeal-chaos/ordeal/services/internal/db"
	"github.com/ordeal-chaos/ordeal/services/internal/events"
)

const (
	placeAttempts = 4
	placeBackoff  = 50 * time.Millisecond
)

// transact runs the transaction that places the order of event. Where stock comes first, it is taken over REST before.
func (s *service) transact(ctx context.Context, event events.Event, work func(context.Context, *db.Tx) error) error {
	if s.Config.Parts.Coordination != services.StockFirst {
		return s.Transact(ctx, work)
	}
	ctx = context.WithoutCancel(ctx) // a client that goes away does not abort it
	taken, err := s.takeStock(ctx, event)
	if err != nil {
		return err
	}
	return s.placeTaken(ctx, event, taken, work)
}

// takeStock reserves the lines of an order at the stock service. Whoever asks first for an order has taken them; a later
// call finds them taken. An order whose stock was given back is a Problem: it cannot be placed any more.
func (s *service) takeStock(ctx context.Context, event events.Event) (taken bool, err error) {
	status, answer, err := s.exchange(ctx, http.MethodPost, s.Config.StockURL+"/api/v1/stocks", "order-"+event.OrderID, struct {
		OrderID string `json:"orderId"`
		app.Goods
	}{event.OrderID, app.GoodsOf(event.Lines)})
	if err != nil {
		return false, fmt.Errorf("take stock: %w", err)
	}
	var reservation struct {
		Status string `json:"status"`
	}
	switch status {
	case http.StatusCreated:
		return true, nil
	case http.StatusOK:
		if err := json.Unmarshal(answer, &reservation); err != nil {
			return false, fmt.Errorf("take stock: decode answer: %w", err)
		}
		if reservation.Status == "RELEASED" {
			return false, app.Refuse(http.StatusConflict, "order %s was rolled back", event.OrderID)
		}
		return false, nil
	default:
		return false, app.Refuse(http.StatusConflict, "stock of order %s cannot be taken: %s", event.OrderID, bytes.TrimSpace(answer))
	}
}

// placeTaken tries the transaction some times. When it rolled back and this call had taken the stock, it announces that
// the stock is to be given back. As in Spring, an outcome that is unknown is not taken for a rollback.
func (s *service) placeTaken(ctx context.Context, event events.Event, taken bool, work func(context.Context, *db.Tx) error) error {
	// What is registered is done when the transaction rolls back, like a listener of its phase AFTER_ROLLBACK.
	registered := !s.Guards.Lacks(services.CompensateFirst)
	for attempt := 1; ; attempt++ {
		err := s.DB.Transact(ctx, func(ctx context.Context, tx *db.Tx) error {
			if err := work(ctx, tx); err != nil {
				return err
			}
			registered = true
			return nil
		})
		if err == nil || errors.Is(err, db.ErrOutcomeUnknown) || !taken {
			return err
		}
		var problem *app.Problem
		last := attempt == placeAttempts || errors.As(err, &problem) || errors.Is(err, errKeyUsed) || db.Classify(err) == db.Refused
		if registered && (last || s.Guards.Lacks(services.CompensateOnce)) {
			s.giveBack(ctx, event)
		}
		if last {
			return err
		}
		s.Log.Warn("place order", "order", event.OrderID, "attempt", attempt, "error", err)
		if err := wait(ctx, time.Duration(attempt)*placeBackoff); err != nil {
			return err
		}
	}
}

// giveBack announces that the order of an event was rolled back. Nobody tries it again.
func (s *service) giveBack(ctx context.Context, event events.Event) {
	rollback := events.Event{ID: events.NewID(), Type: events.StockRollback, OrderID: event.OrderID, Lines: event.Lines}
	if err := s.Publisher.Send(ctx, events.OrderEvents, rollback); err != nil {
		s.Log.Error("give stock back", "order", event.OrderID, "error", err)
	}
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
