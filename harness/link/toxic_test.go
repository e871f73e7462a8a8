package link_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/link"
	"github.com/ordeal-chaos/ordeal/harness/wire"
)

func TestLatencyDelaysUntilHealed(t *testing.T) {
	l := open(t, link.Config{Upstream: serve(t, echo)})
	old := dial(t, l.Addr())
	ping(t, old, "x")
	heal, err := l.Toxic(link.Latency{Direction: history.Response, Delay: 80 * time.Millisecond, Jitter: 10 * time.Millisecond})
	require.NoError(t, err)
	w := l.Watch()
	fresh := dial(t, l.Addr())
	for _, c := range []net.Conn{old, fresh} {
		assert.GreaterOrEqual(t, ping(t, c, "x"), 69*time.Millisecond)
	}
	m := w.Measure()
	assert.GreaterOrEqual(t, m.Response.Wait, 69*time.Millisecond)
	assert.Less(t, m.Request.Wait, 50*time.Millisecond)
	require.NoError(t, heal(within(t)))
	for _, c := range []net.Conn{old, fresh} {
		assert.Less(t, ping(t, c, "x"), 50*time.Millisecond)
	}
}

func TestHealingLatencyLosesNothingUnderTraffic(t *testing.T) {
	l := open(t, link.Config{Upstream: serve(t, echo)})
	c := dial(t, l.Addr())
	var sent []byte
	for i := range 1 << 16 {
		sent = fmt.Appendf(sent, "%08d", i)
	}
	healed := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		for rest := sent; len(rest) > 0; { // until every heal has happened in the midst of traffic
			n := min(1<<10, len(rest))
			_, _ = c.Write(rest[:n])
			rest = rest[n:]
			time.Sleep(100 * time.Microsecond)
		}
		<-healed
		_ = c.CloseWrite()
	})
	wait.Go(func() {
		defer close(healed)
		for range 5 {
			heal, err := l.Toxic(link.Latency{Delay: 6 * time.Millisecond, Jitter: 2 * time.Millisecond})
			if assert.NoError(t, err) {
				time.Sleep(10 * time.Millisecond)
				assert.NoError(t, heal(within(t)))
			}
		}
	})
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(sent, got))
	wait.Wait()
}

func TestToxicsOverlap(t *testing.T) {
	l := open(t, link.Config{Upstream: serve(t, echo)})
	c := dial(t, l.Addr())
	healFirst, err := l.Toxic(link.Latency{Direction: history.Request, Delay: 50 * time.Millisecond})
	require.NoError(t, err)
	healSecond, err := l.Toxic(link.Latency{Direction: history.Request, Delay: 60 * time.Millisecond})
	require.NoError(t, err)
	// Toxiproxy's latency counts from when a chunk entered the first toxic plus the delays so far.
	assert.GreaterOrEqual(t, ping(t, c, "x"), 105*time.Millisecond)
	require.NoError(t, healFirst(within(t)))
	took := ping(t, c, "x")
	assert.GreaterOrEqual(t, took, 58*time.Millisecond)
	assert.Less(t, took, 105*time.Millisecond)
	require.NoError(t, healSecond(within(t)))
	assert.Less(t, ping(t, c, "x"), 50*time.Millisecond)
}

func TestBandwidthIsLimitedUntilHealed(t *testing.T) {
	l := open(t, link.Config{Upstream: serve(t, func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) })})
	heal, err := l.Toxic(link.Bandwidth{Direction: history.Request, KBps: 100})
	require.NoError(t, err)
	w := l.Watch()
	c := dial(t, l.Addr())
	_, err = c.Write(make([]byte, 1<<20))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return w.Measure().Request.Delivered > 0 }, 5*time.Second, time.Millisecond)
	time.Sleep(500 * time.Millisecond)
	m := w.Measure()
	assert.InDelta(t, 50e3, float64(m.Request.Delivered), 30e3)
	assert.GreaterOrEqual(t, m.Request.Delayed, 100*time.Millisecond)
	assert.Zero(t, m.Response.Delayed, "no toxic in that direction")
	assert.GreaterOrEqual(t, m.Request.Offered, int64(900e3))
	start := time.Now()
	require.NoError(t, heal(within(t)))
	assert.Less(t, time.Since(start), 2*time.Second)
	require.Eventually(t, func() bool { return w.Measure().Request.Delivered == 1<<20 }, 5*time.Second, time.Millisecond)
}

func TestLimitDataCutsAfterSoManyBytes(t *testing.T) {
	for _, limit := range []int64{0, 1, 10, 100} {
		l := open(t, link.Config{Upstream: serve(t, func(c *net.TCPConn) {
			_, _ = c.Write(bytes.Repeat([]byte("x"), 5000))
			_, _ = io.Copy(io.Discard, c)
		})})
		heal, err := l.Toxic(link.LimitData{Direction: history.Response, Bytes: limit})
		require.NoError(t, err)
		w := l.Watch()
		got, err := io.ReadAll(dial(t, l.Addr()))
		require.NoError(t, err)
		assert.Len(t, got, int(limit))
		m := w.Measure()
		assert.Equal(t, int64(1), m.Limited)
		assert.Zero(t, m.Cut)
		assert.Zero(t, m.ServerEnded+m.ClientEnded, "the link ended it")
		require.NoError(t, heal(within(t)))
		c := dial(t, l.Addr())
		_, err = io.ReadFull(c, make([]byte, 5000))
		require.NoError(t, err)
	}
}

func TestLimitDataOnRequestsEndsTheServersStream(t *testing.T) {
	got := make(chan []byte, 1)
	l := open(t, link.Config{Upstream: serve(t, func(c *net.TCPConn) {
		all, _ := io.ReadAll(c)
		got <- all
	})})
	_, err := l.Toxic(link.LimitData{Direction: history.Request, Bytes: 7})
	require.NoError(t, err)
	c := dial(t, l.Addr())
	_, err = io.WriteString(c, "0123456789")
	require.NoError(t, err)
	assert.Equal(t, "0123456", string(<-got))
	_, err = io.ReadAll(c)
	require.NoError(t, err)
}

func TestSlowCloseDelaysTheEnd(t *testing.T) {
	closed := make(chan time.Time, 2)
	l := open(t, link.Config{Upstream: serve(t, func(c *net.TCPConn) {
		_, _ = io.Copy(c, c)
		closed <- time.Now()
	})})
	heal, err := l.Toxic(link.SlowClose{Direction: history.Request, Delay: 200 * time.Millisecond})
	require.NoError(t, err)
	c := dial(t, l.Addr())
	ping(t, c, "x")
	start := time.Now()
	require.NoError(t, c.CloseWrite())
	assert.GreaterOrEqual(t, (<-closed).Sub(start), 190*time.Millisecond)

	c = dial(t, l.Addr())
	ping(t, c, "x")
	start = time.Now()
	require.NoError(t, heal(within(t)))
	assert.Less(t, time.Since(start), 150*time.Millisecond, "healing must not wait out the delay of an open connection")
	ping(t, c, "y")
	start = time.Now()
	require.NoError(t, c.CloseWrite())
	assert.Less(t, (<-closed).Sub(start), 150*time.Millisecond)
}

func TestHealCutsWhatDoesNotDrain(t *testing.T) {
	release := make(chan struct{})
	l := open(t, link.Config{Name: "a->b", Upstream: serve(t, func(*net.TCPConn) { <-release })}) // reads nothing
	defer close(release)
	heal, err := l.Toxic(link.Latency{Direction: history.Request, Delay: time.Millisecond})
	require.NoError(t, err)
	c := dial(t, l.Addr())
	var wait sync.WaitGroup
	wait.Go(func() { _, _ = c.Write(make([]byte, 64<<20)) })
	w := l.Watch()
	stuck := int64(0)
	require.Eventually(t, func() bool {
		before := stuck
		stuck = w.Measure().Request.Delivered
		return stuck > 0 && stuck == before
	}, 10*time.Second, 50*time.Millisecond)
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	err = heal(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "heal latency on link a->b: reset 1 connections")
	require.Equal(t, err, heal(within(t)), "healing again changes nothing")
	wait.Wait()
	m := w.Measure()
	assert.Equal(t, int64(1), m.Cut)
	assert.Zero(t, m.Limited)
	assert.Zero(t, m.ServerEnded+m.ClientEnded, "the link ended it")
}

func TestToxicsThatWouldCrashAreRefused(t *testing.T) {
	l := open(t, link.Config{Name: "a->b", Upstream: "127.0.0.1:1"})
	for _, bad := range []link.Toxic{
		link.Latency{Delay: -time.Second}, link.Latency{Delay: time.Second, Jitter: 2 * time.Second},
		link.Latency{Delay: 1 << 62, Jitter: 1 << 62}, link.Bandwidth{}, link.Bandwidth{KBps: -1},
		link.LimitData{Bytes: -1}, link.SlowClose{Delay: -1}, link.Latency{Direction: "sideways"},
	} {
		_, err := l.Toxic(bad)
		assert.ErrorContains(t, err, "add toxic to link a->b", "%#v", bad)
	}
}

func TestWhatAToxicHoldsWhenItsConnectionIsResetNeverLeft(t *testing.T) {
	recorded := new(events)
	l := open(t, link.Config{Protocol: wire.HTTP, Record: recorded.record, Upstream: serve(t, func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		_, _ = io.Copy(io.Discard, c)
	})})
	_, err := l.Toxic(link.Latency{Direction: history.Response, Delay: time.Minute})
	require.NoError(t, err)
	w := l.Watch()
	_, err = io.WriteString(dial(t, l.Addr()), "GET / HTTP/1.1\r\n\r\n")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return w.Measure().Response.Wait > 20*time.Millisecond }, 5*time.Second, time.Millisecond)
	require.Equal(t, 1, l.Reset())
	require.NoError(t, l.Close())
	assert.Empty(t, recorded.where(func(w history.Wire) bool { return w.Direction == history.Response }))
}
