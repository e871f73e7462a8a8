package services_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkOrders measures orders from their placing to their end, with both services, the broker and the clients
// in this process, connected directly.
func BenchmarkOrders(b *testing.B) {
	s := startedStack(b, map[string]string{"ORDER_TTL": "1m", "RETRY_ATTEMPTS": "1000"})
	for i := range 50 {
		s.seed(fmt.Sprintf("sku-%d", i), 1<<40)
	}
	clients := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	b.ResetTimer()
	next := make(chan int)
	var running sync.WaitGroup
	for range 16 {
		running.Go(func() {
			for i := range next {
				body := fmt.Sprintf(`{"lines":[{"productId":"sku-%d","qty":1},{"productId":"sku-%d","qty":2}],"paymentAmt":5}`, i%50, (i+7)%50)
				request, err := http.NewRequest(http.MethodPost, s.orderURL+"/api/v1/orders", strings.NewReader(body))
				if err != nil {
					b.Error(err)
					return
				}
				request.Header.Set("Idempotency-Key", fmt.Sprintf("key-%d", i))
				response, err := clients.Do(request)
				if err != nil {
					b.Error(err)
					continue
				}
				_ = response.Body.Close()
				if response.StatusCode != http.StatusCreated {
					b.Errorf("answer %s", response.Status)
				}
			}
		})
	}
	for i := range b.N {
		next <- i
	}
	close(next)
	running.Wait()
	s.await(func() string { return s.one(s.stock, `select coalesce(sum(reserved), 0)::text from stock`) }, "0", "reserved")
	s.await(func() string {
		return s.one(s.stock, `select count(*)::text from reservations where status = 'CONFIRMED'`)
	}, fmt.Sprint(b.N), "confirmed reservations")
	b.StopTimer()
	require.Equal(b, fmt.Sprint(b.N), s.one(s.orders, `select count(*)::text from orders where status = 'CONFIRMED'`))
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "orders/s")
	b.ReportMetric(0, "ns/op")
}
