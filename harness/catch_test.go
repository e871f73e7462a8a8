package harness

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/link"
	"github.com/ordeal-chaos/ordeal/harness/wire"
)

// threeLinks open links to one HTTP server that answers every request with 200.
func threeLinks(t *testing.T) []*link.Link {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) }) // the last one to run
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	t.Cleanup(server.Close)
	var links []*link.Link
	for i := range 3 {
		l, err := link.Open(link.Config{
			Name: fmt.Sprintf("order->kafka-%d", i+1), Protocol: wire.HTTP, Upstream: server.Listener.Addr().String(),
		})
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, l.Close()) })
		links = append(links, l)
	}
	return links
}

func arm(links []*link.Link) []*link.Hold {
	var holds []*link.Hold
	for _, l := range links {
		holds = append(holds, l.Hold(link.Match{Direction: history.Request, Kind: "POST /orders"}))
	}
	return holds
}

// post sends one request through the link, on a connection of its own.
func post(ctx context.Context, l *link.Link) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+l.Addr()+"/orders", nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{DialContext: (&net.Dialer{}).DialContext, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// TestFirstHoldWins lets the message come by each of the links in turn: that link holds it, and no other is
// left armed.
func TestFirstHoldWins(t *testing.T) {
	links := threeLinks(t)
	for n, by := range links {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		holds := arm(links)
		var sending sync.WaitGroup
		sending.Go(func() { assert.NoError(t, post(ctx, by)) })
		require.Same(t, holds[n], first(ctx, holds))
		assert.Empty(t, holds[n].Outcome(), "it is still held")
		for _, other := range links {
			if other != by {
				assert.NoError(t, post(ctx, other), "%s must hold nothing", other.Name())
			}
		}
		holds[n].Forward()
		sending.Wait()
		cancel()
	}
}

// TestAllCatchAtOnce sends the message by every link at the same time: one stays held, and the others go on.
func TestAllCatchAtOnce(t *testing.T) {
	links := threeLinks(t)
	for range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		holds := arm(links)
		answered := make(chan error, len(links))
		var sending sync.WaitGroup
		for _, l := range links {
			sending.Go(func() { answered <- post(ctx, l) })
		}
		for _, hold := range holds { // all have caught before anybody looks
			require.Eventually(t, func() bool { return hold.Conn() > 0 }, 5*time.Second, time.Millisecond)
		}
		winner := first(ctx, holds)
		require.NotNil(t, winner)
		for range len(links) - 1 {
			require.NoError(t, <-answered)
		}
		select {
		case <-answered:
			t.Fatal("the winner's message was let go")
		case <-time.After(10 * time.Millisecond):
		}
		winner.Forward()
		sending.Wait()
		require.NoError(t, <-answered)
		cancel()
	}
}

// TestNothingCaught leaves no hold armed when the time is up.
func TestNothingCaught(t *testing.T) {
	links := threeLinks(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	require.Nil(t, first(ctx, arm(links)))
	for _, l := range links {
		assert.NoError(t, post(t.Context(), l))
	}
}
