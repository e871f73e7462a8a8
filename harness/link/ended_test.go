package link_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/link"
	"github.com/ordeal-chaos/ordeal/harness/wire"
)

// TestWhoEndedAConnectionIsCounted ends one connection each way: politely and by RST, from either side and
// by the link itself. The answer of the other side to the first end does not count.
func TestWhoEndedAConnectionIsCounted(t *testing.T) {
	type ended struct{ client, server int64 }
	for name, test := range map[string]struct {
		end  func(l *link.Link, client, server *net.TCPConn)
		want ended
	}{
		"client closes":     {func(_ *link.Link, client, _ *net.TCPConn) { _ = client.Close() }, ended{client: 1}},
		"client half-close": {func(_ *link.Link, client, _ *net.TCPConn) { _ = client.CloseWrite() }, ended{client: 1}},
		"client resets":     {func(_ *link.Link, client, _ *net.TCPConn) { _ = client.SetLinger(0); _ = client.Close() }, ended{client: 1}},
		"server closes":     {func(_ *link.Link, _, server *net.TCPConn) { _ = server.Close() }, ended{server: 1}},
		"server resets":     {func(_ *link.Link, _, server *net.TCPConn) { _ = server.SetLinger(0); _ = server.Close() }, ended{server: 1}},
		"link resets":       {func(l *link.Link, _, _ *net.TCPConn) { l.Reset() }, ended{}},
		"link refuses":      {func(l *link.Link, _, _ *net.TCPConn) { _, _ = l.Refuse() }, ended{}},
	} {
		t.Run(name, func(t *testing.T) {
			accepted := make(chan *net.TCPConn, 1)
			over := make(chan struct{})
			l := open(t, link.Config{Upstream: serve(t, func(c *net.TCPConn) {
				accepted <- c
				echo(c)
				_ = c.Close()
				close(over)
			})})
			c := dial(t, l.Addr())
			ping(t, c, "x")
			w := l.Watch()
			test.end(l, c, <-accepted)
			<-over
			if _, err := io.Copy(io.Discard, c); err == nil {
				_ = c.Close()
			}
			require.NoError(t, l.Close()) // every reader has seen its end
			m := w.Measure()
			assert.Equal(t, test.want, ended{m.ClientEnded, m.ServerEnded})
		})
	}
}

func TestARoundTripIsWholeOnlyIfItBeganInTheWindow(t *testing.T) {
	l := open(t, link.Config{Protocol: wire.HTTP, Upstream: serve(t, answerOK)})
	c := dial(t, l.Addr())
	heal := l.Stall(history.Response)
	ask(t, c)
	before := l.Watch()
	require.Eventually(t, func() bool { return before.Measure().InFlight == 1 }, 5*time.Second, time.Millisecond)
	w := l.Watch()
	heal()
	require.Eventually(t, func() bool { return w.Measure().RoundTrips.Count == 1 }, 5*time.Second, time.Millisecond)
	assert.Zero(t, w.Measure().RoundTrips.Whole, "it was on its way when the window began")

	_, err := l.Toxic(link.Latency{Direction: history.Response, Delay: 60 * time.Millisecond})
	require.NoError(t, err)
	ask(t, c)
	require.Eventually(t, func() bool { return w.Measure().RoundTrips.Whole == 1 }, 5*time.Second, time.Millisecond)
	trips := w.Measure().RoundTrips
	assert.GreaterOrEqual(t, trips.WholeMin, 60*time.Millisecond)
	assert.Equal(t, int64(2), trips.Count)
}

// answerOK answers each request with an empty 200.
func answerOK(c *net.TCPConn) {
	buffer := make([]byte, 1024)
	for {
		if _, err := c.Read(buffer); err != nil {
			return
		}
		if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"); err != nil {
			return
		}
	}
}

func ask(t testing.TB, c net.Conn) {
	t.Helper()
	_, err := io.WriteString(c, "GET /orders HTTP/1.1\r\nHost: a\r\n\r\n")
	require.NoError(t, err)
}

// TestTheOutcomeOfAHoldIsWhatReallyHappened holds a message, does something to its destination, lets it go, and
// reads the outcome from the hold and from the history.
func TestTheOutcomeOfAHoldIsWhatReallyHappened(t *testing.T) {
	type sides struct {
		link           *link.Link
		client, server *net.TCPConn
	}
	closes := func(c *net.TCPConn) { _ = c.Close() }
	resets := func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() }
	for name, test := range map[string]struct {
		direction string
		meanwhile func(sides)
		drop      bool
		want      string
	}{
		"request to a server that is there":   {history.Request, func(sides) {}, false, "forwarded"},
		"request dropped":                     {history.Request, func(sides) {}, true, "dropped"},
		"request to a server that closed":     {history.Request, func(s sides) { closes(s.server) }, false, "undeliverable"},
		"request to a server that reset":      {history.Request, func(s sides) { resets(s.server) }, false, "undeliverable"},
		"request of a client that is gone":    {history.Request, func(s sides) { resets(s.client) }, false, "forwarded"},
		"response to a client that is there":  {history.Response, func(sides) {}, false, "forwarded"},
		"response dropped":                    {history.Response, func(sides) {}, true, "dropped"},
		"response to a client that closed":    {history.Response, func(s sides) { closes(s.client) }, false, "undeliverable"},
		"response to a client that reset":     {history.Response, func(s sides) { resets(s.client) }, false, "undeliverable"},
		"response to a half-closed client":    {history.Response, func(s sides) { _ = s.client.CloseWrite() }, false, "forwarded"},
		"response of a connection reset":      {history.Response, func(s sides) { s.link.Reset() }, false, "dropped"},
		"request through a toxic":             {history.Request, func(s sides) { _, _ = s.link.Toxic(link.Latency{Delay: time.Millisecond}) }, false, "forwarded"},
		"request to a gone server in a toxic": {history.Request, func(s sides) { resets(s.server); _, _ = s.link.Toxic(link.Latency{Delay: time.Millisecond}) }, false, "undeliverable"},
	} {
		t.Run(name, func(t *testing.T) {
			recorded := new(events)
			accepted := make(chan *net.TCPConn, 1)
			l := open(t, link.Config{Protocol: wire.HTTP, Record: recorded.record, Upstream: serve(t, func(c *net.TCPConn) {
				accepted <- c
				answerOK(c)
			})})
			h := l.Hold(link.Match{Direction: test.direction})
			c := dial(t, l.Addr())
			ask(t, c)
			caught(t, h)
			assert.Empty(t, h.Outcome())
			test.meanwhile(sides{l, c, <-accepted})
			if test.drop {
				h.Drop()
			} else {
				h.Forward()
			}
			require.Eventually(t, func() bool { return h.Outcome() != "" }, 5*time.Second, time.Millisecond)
			assert.Equal(t, test.want, h.Outcome())
			require.NoError(t, l.Close())
			assert.Equal(t, test.want, h.Outcome())
			var held []string
			for _, w := range recorded.where(func(w history.Wire) bool { return w.Held != "" }) {
				held = append(held, w.Held)
			}
			assert.Equal(t, []string{"held", test.want}, held)
		})
	}
}

func TestAMessageLetGoBehindAStallHasNoOutcomeUntilItLeft(t *testing.T) {
	recorded := new(events)
	l := open(t, link.Config{Protocol: wire.HTTP, Record: recorded.record, Upstream: serve(t, answerOK)})
	h := l.Hold(link.Match{Direction: history.Request})
	c := dial(t, l.Addr())
	ask(t, c)
	caught(t, h)
	heal := l.Stall()
	h.Forward()
	assert.Never(t, func() bool { return h.Outcome() != "" }, 50*time.Millisecond, 5*time.Millisecond)
	heal()
	require.Eventually(t, func() bool { return h.Outcome() == "forwarded" }, 5*time.Second, time.Millisecond)

	h = l.Hold(link.Match{Direction: history.Request})
	c = dial(t, l.Addr())
	ask(t, c)
	caught(t, h)
	l.Stall()
	h.Forward()
	l.Reset()
	require.Eventually(t, func() bool { return h.Outcome() == "undeliverable" }, 5*time.Second, time.Millisecond)
}
