package link_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/link"
	"github.com/ordeal-chaos/ordeal/harness/wire"
)

func TestHTTPThroughALink(t *testing.T) {
	applied := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		applied <- r.Method + " " + r.URL.Path
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"orderId":"order-0001"}`)
	}))
	t.Cleanup(server.Close)
	recorded := new(events)
	l := open(t, link.Config{Name: "client->order", Protocol: wire.HTTP, Upstream: server.Listener.Addr().(*net.TCPAddr).String(), Record: recorded.record})
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	post := func() (int, error) {
		request, err := http.NewRequestWithContext(within(t), http.MethodPost, "http://"+l.Addr()+"/api/v1/orders", strings.NewReader(`{"productId":"p-1","qty":2}`))
		require.NoError(t, err)
		request.Header.Set("Idempotency-Key", "key-1")
		answer, err := client.Do(request)
		if err != nil {
			return 0, err
		}
		defer answer.Body.Close()
		_, err = io.Copy(io.Discard, answer.Body)
		return answer.StatusCode, err
	}
	w := l.Watch()
	for range 3 { // on one connection
		status, err := post()
		require.NoError(t, err)
		require.Equal(t, http.StatusCreated, status)
		<-applied
	}
	assert.Equal(t, int64(1), w.Measure().Opened)
	all := recorded.where(func(history.Wire) bool { return true })
	require.Len(t, all, 6)
	assert.Equal(t, "request POST /api/v1/orders ", all[0].Direction+" "+all[0].Kind+" "+all[0].Status)
	assert.Equal(t, "response POST /api/v1/orders 201", all[1].Direction+" "+all[1].Kind+" "+all[1].Status)
	assert.Subset(t, all[0].Tokens, []string{"key-1", "p-1"})
	assert.Subset(t, all[1].Tokens, []string{"key-1", "p-1", "order-0001"})

	h := l.Hold(link.Match{Direction: history.Response, Tokens: []string{"key-1", "order-0001"}})
	done := make(chan error, 1)
	go func() {
		_, err := post()
		done <- err
	}()
	caught(t, h)
	assert.Equal(t, "POST /api/v1/orders", <-applied, "the server acted, its client does not know")
	assert.True(t, h.Reset())
	// net/http sends a request with an Idempotency-Key again when a connection that it had used before ends
	// without an answer: the server acts twice and the caller sees one success.
	require.NoError(t, <-done)
	assert.Equal(t, "POST /api/v1/orders", <-applied)
}
