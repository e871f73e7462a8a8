package payment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/db"
)

const (
	expireLimit = 100
	askTimeout  = 300 * time.Millisecond
)

// asks reports whether what was held is given up only for an order that is dead. A decided confirmation that is still
// on its way must not meet an expired hold.
func (s *service) asks() bool {
	coordination := s.Config.Parts.Coordination
	tcc := coordination == services.TCCRest || coordination == services.TCCKafka
	return tcc && !s.Guards.Lacks(services.ExpiryAsks)
}

// expire ends holds that are past their expiry.
func (s *service) expire(ctx context.Context) error {
	var due []string
	batch := &pgx.Batch{}
	batch.Queue(`select order_id from payments where status = 'AUTHORIZED' and expires_at <= clock_timestamp()
		order by expires_at limit $1`, expireLimit).Query(func(rows pgx.Rows) (err error) {
		due, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	if err := s.DB.Read(ctx, batch); err != nil {
		return err
	}
	var errs []error
	for _, orderID := range due {
		if err := s.expireOne(ctx, orderID); err != nil {
			errs = append(errs, fmt.Errorf("expire payment of order %s: %w", orderID, err))
		}
	}
	return errors.Join(errs...)
}

func (s *service) expireOne(ctx context.Context, orderID string) error {
	to := Voided
	if s.asks() {
		fate, err := s.orders.fate(ctx, orderID)
		if err != nil || fate == "" {
			return err // it lasts until the order is decided
		}
		to = fate
	}
	return s.DB.Transact(ctx, func(ctx context.Context, tx *db.Tx) error {
		p, err := find(ctx, tx, orderID)
		if err != nil || p.status != Authorized {
			return err // settled meanwhile
		}
		_, err = s.move(ctx, tx, p, to, nil)
		return err
	})
}

// orders asks the order service.
type orders struct {
	url    string // empty: nobody to ask
	client *http.Client
}

func newOrders(url string) *orders {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil
	return &orders{url: url, client: &http.Client{Transport: transport, Timeout: askTimeout}}
}

// fate is the status that a hold of an order must take: Captured, Voided, or empty as long as the order is undecided.
func (o *orders) fate(ctx context.Context, orderID string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, o.url+"/api/v1/orders/"+url.PathEscape(orderID), nil)
	if err != nil {
		return "", fmt.Errorf("ask for order: %w", err)
	}
	response, err := o.client.Do(request)
	if err != nil {
		return "", fmt.Errorf("ask for order: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	switch response.StatusCode {
	case http.StatusNotFound:
		return Voided, nil
	case http.StatusOK:
	default:
		return "", fmt.Errorf("ask for order: status %d", response.StatusCode)
	}
	var order struct{ Status string }
	if err := json.NewDecoder(response.Body).Decode(&order); err != nil {
		return "", fmt.Errorf("ask for order: %w", err)
	}
	switch order.Status {
	case "CONFIRMED":
		return Captured, nil
	case "CANCELLED":
		return Voided, nil
	default:
		return "", nil
	}
}
