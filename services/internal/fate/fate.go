// Package fate owns how a participant asks the order service what became of an order, before it gives up what it holds for it.
package fate

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// askTimeout bounds one question.
const askTimeout = 300 * time.Millisecond

// Fate is what became of an order.
type Fate int

// Fates of an order. One that does not exist is dead.
const (
	Undecided Fate = iota
	Confirmed
	Dead
)

// Orders is the order service. It is safe for concurrent use.
type Orders struct {
	url    string
	client *http.Client
}

// At returns the order service at a base URL.
func At(url string) *Orders {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil
	return &Orders{url: url, client: &http.Client{Transport: transport, Timeout: askTimeout}}
}

// Ask returns the fate of an order; after an error it is not known.
func (o *Orders) Ask(ctx context.Context, orderID string) (Fate, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, o.url+"/api/v1/orders/"+url.PathEscape(orderID), nil)
	if err != nil {
		return Undecided, fmt.Errorf("ask for order: %w", err)
	}
	response, err := o.client.Do(request)
	if err != nil {
		return Undecided, fmt.Errorf("ask for order: %w", err)
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusNotFound:
		return Dead, nil
	case http.StatusOK:
	default:
		return Undecided, fmt.Errorf("ask for order: status %d", response.StatusCode)
	}
	var order struct{ Status string }
	if err := json.NewDecoder(response.Body).Decode(&order); err != nil {
		return Undecided, fmt.Errorf("ask for order: %w", err)
	}
	switch order.Status {
	case "CONFIRMED":
		return Confirmed, nil
	case "CANCELLED":
		return Dead, nil
	default:
		return Undecided, nil
	}
}
