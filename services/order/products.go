package order

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/ordeal-chaos/ordeal/services/internal/app"
	"github.com/ordeal-chaos/ordeal/services/internal/events"
)

const (
	lookupTimeout = 300 * time.Millisecond
	maxProducts   = 1000
)

// products knows which products exist, by asking the stock service. It is advice that spares a client an order that
// cannot succeed: whenever the answer is not clear, the order is taken, and stock decides.
type products struct {
	url    string // of the stock service; empty: nobody to ask
	ttl    time.Duration
	client *http.Client

	mu    sync.Mutex
	known map[string]product
}

type product struct {
	missing bool
	until   time.Time
}

func newProducts(url string, ttl time.Duration) *products {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil
	transport.MaxIdleConnsPerHost = 8
	return &products{
		url: url, ttl: ttl, known: map[string]product{},
		client: &http.Client{Transport: transport},
	}
}

// check returns a Problem when a product of lines is known not to exist.
func (p *products) check(ctx context.Context, lines []events.Line) error {
	if p.url == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	for _, line := range lines {
		if p.missing(ctx, line.ProductID) {
			return app.Refuse(http.StatusUnprocessableEntity, "no product %s", line.ProductID)
		}
	}
	return nil
}

func (p *products) missing(ctx context.Context, id string) bool {
	p.mu.Lock()
	known, ok := p.known[id]
	p.mu.Unlock()
	if ok && time.Now().Before(known.until) {
		return known.missing
	}
	// A failure is remembered too: an outage of stock must not slow every order down.
	missing := p.ask(ctx, id)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.known) >= maxProducts {
		clear(p.known) // ids come from clients
	}
	p.known[id] = product{missing: missing, until: time.Now().Add(p.ttl)}
	return missing
}

func (p *products) ask(ctx context.Context, id string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/api/v1/stocks/"+id, nil)
	if err != nil {
		return false
	}
	response, err := p.client.Do(request)
	if err != nil {
		return false
	}
	_, _ = io.Copy(io.Discard, response.Body) // read to the end, the connection can be used again
	_ = response.Body.Close()
	return response.StatusCode == http.StatusNotFound
}
