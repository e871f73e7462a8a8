package price

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// answerTimeout bounds one request.
const answerTimeout = 10 * time.Second

// client places orders and remembers when it sent each. It records nothing else: that would cost the machine
// that is measured.
type client struct {
	url  string
	skus int
	http *http.Client

	mu      sync.Mutex
	sent    map[string]time.Time // order → when; those that were answered with success
	late    []time.Duration      // of each paced order: how much later than planned it was sent
	refused atomic.Int64
}

func newClient(url string, skus int) *client {
	return &client{
		url: url, skus: skus, sent: map[string]time.Time{},
		http: &http.Client{Timeout: answerTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: 256}},
	}
}

func (c *client) close() { c.http.CloseIdleConnections() }

func (c *client) lateness(late time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.late = append(c.late, late)
}

// placed is the number of orders answered with success.
func (c *client) placed() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.sent)
}

type line struct {
	ProductID string `json:"productId"`
	Qty       int    `json:"qty"`
}

// place places the n-th order, once.
func (c *client) place(ctx context.Context, n int) {
	order := fmt.Sprintf("order-%06d", n)
	body, err := json.Marshal(map[string]any{
		"orderId": order, "paymentAmt": 1000,
		// Neighbours share no product: n and n+1 are two apart.
		"lines": []line{{SKU(2 * n % c.skus), 1}, {SKU((2*n + 1) % c.skus), 1}},
	})
	if err != nil {
		panic(err) // strings and numbers
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/api/v1/orders", bytes.NewReader(body))
	if err != nil {
		c.refused.Add(1)
		return
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Idempotency-Key", "key-"+order)
	at := time.Now()
	response, err := c.http.Do(request)
	if err != nil {
		c.refused.Add(1)
		return
	}
	_, err = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	if err != nil || response.StatusCode/100 != 2 {
		c.refused.Add(1)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent[order] = at
}

// SKU is the name of the i-th product, from 0.
func SKU(i int) string { return fmt.Sprintf("sku-%03d", i+1) }

// closed places the orders from first to last, by so many clients that each wait for their answers.
func (c *client) closed(ctx context.Context, first, last, clients int) {
	var next atomic.Int64
	next.Store(int64(first))
	var group sync.WaitGroup
	for range clients {
		group.Go(func() {
			for n := int(next.Add(1)) - 1; n <= last && ctx.Err() == nil; n = int(next.Add(1)) - 1 {
				c.place(ctx, n)
			}
		})
	}
	group.Wait()
}

// paced places the orders from first to last at a pace, each when its time has come.
func (c *client) paced(ctx context.Context, first, last int, pace float64) {
	interval := time.Duration(float64(time.Second) / pace)
	timer := time.NewTimer(interval)
	defer timer.Stop()
	var group sync.WaitGroup
	defer group.Wait()
	due := time.Now().Add(interval)
	for n := first; n <= last; n++ {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		planned := due
		group.Go(func() {
			c.lateness(time.Since(planned))
			c.place(ctx, n)
		})
		due = due.Add(interval)
		timer.Reset(time.Until(due))
	}
}

// run puts the load on. The first order that counts is the one after the warm-up's.
func (c *client) run(ctx context.Context, load Load, warm func(context.Context) error) error {
	c.closed(ctx, 1, load.Warmup, load.Clients)
	if err := warm(ctx); err != nil {
		return err
	}
	first, last := load.Warmup+1, load.Warmup+load.Orders
	if load.Pace > 0 {
		c.paced(ctx, first, last, load.Pace)
	} else {
		c.closed(ctx, first, last, load.Clients)
	}
	return ctx.Err()
}
