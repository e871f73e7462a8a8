package link_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/link"
	"github.com/ordeal-chaos/ordeal/harness/stack"
)

func TestMain(m *testing.M) {
	stack.Dispatch() // the download of Postgres is a program of this binary
	goleak.VerifyTestMain(m)
}

// events collects what a link records.
type events struct {
	mu   sync.Mutex
	list []history.Wire
}

func (e *events) record(w history.Wire) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, w)
}

// where returns the events that fit.
func (e *events) where(fit func(history.Wire) bool) []history.Wire {
	e.mu.Lock()
	defer e.mu.Unlock()
	var found []history.Wire
	for _, w := range e.list {
		if fit(w) {
			found = append(found, w)
		}
	}
	return found
}

// open opens a link that is closed with the test.
func open(t testing.TB, config link.Config) *link.Link {
	t.Helper()
	l, err := link.Open(config)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, l.Close()) })
	return l
}

// serve answers each connection with handle, in its own goroutine, until the test ends.
func serve(t testing.TB, handle func(*net.TCPConn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wait sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	wait.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			wait.Go(func() {
				defer c.Close()
				handle(c.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		wait.Wait()
	})
	return listener.Addr().String()
}

func echo(c *net.TCPConn) { _, _ = io.Copy(c, c) }

func dial(t testing.TB, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	return c.(*net.TCPConn)
}

// ping sends a line and reads it back.
func ping(t testing.TB, c net.Conn, line string) time.Duration {
	t.Helper()
	start := time.Now()
	_, err := io.WriteString(c, line)
	require.NoError(t, err)
	answer := make([]byte, len(line))
	_, err = io.ReadFull(c, answer)
	require.NoError(t, err)
	require.Equal(t, line, string(answer))
	return time.Since(start)
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestBytesPassUnchangedAndHalfCloseIsPropagated(t *testing.T) {
	l := open(t, link.Config{Name: "a->b", Upstream: serve(t, echo)})
	c := dial(t, l.Addr())
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MiB: echo needs both directions at once
	go func() {
		_, _ = c.Write(sent)
		_ = c.CloseWrite()
	}()
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	require.True(t, bytes.Equal(sent, got))
}

func TestOwnsThePortsOfItsConnections(t *testing.T) {
	ports := make(chan int, 1)
	l := open(t, link.Config{Upstream: serve(t, func(c *net.TCPConn) {
		ports <- c.RemoteAddr().(*net.TCPAddr).Port
		echo(c)
	})})
	c := dial(t, l.Addr())
	ping(t, c, "x")
	port := <-ports
	assert.True(t, 0 < l.Uses(port))
	assert.Equal(t, []int{port}, l.Ports())
	assert.False(t, 0 < l.Uses(c.LocalAddr().(*net.TCPAddr).Port))
}

func TestRefuseResetsThenRefusesThenListensOnTheSamePort(t *testing.T) {
	l := open(t, link.Config{Upstream: serve(t, echo)})
	c := dial(t, l.Addr())
	ping(t, c, "x")
	w := l.Watch()
	heal, err := l.Refuse()
	require.NoError(t, err)
	_, err = c.Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET)
	_, err = net.Dial("tcp", l.Addr())
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	require.NoError(t, heal())
	require.NoError(t, heal())
	ping(t, dial(t, l.Addr()), "y")
	m := w.Measure()
	assert.Equal(t, int64(1), m.Reset)
	assert.Equal(t, int64(1), m.Opened)
}

func TestOverlappingRefusalsEndWithTheLast(t *testing.T) {
	l := open(t, link.Config{Upstream: serve(t, echo)})
	first, err := l.Refuse()
	require.NoError(t, err)
	second, err := l.Refuse()
	require.NoError(t, err)
	require.NoError(t, first())
	_, err = net.Dial("tcp", l.Addr())
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	require.NoError(t, second())
	ping(t, dial(t, l.Addr()), "y")
}

func TestResetSendsRSTToBothSides(t *testing.T) {
	server := make(chan error, 1)
	l := open(t, link.Config{Upstream: serve(t, func(c *net.TCPConn) {
		_, err := io.Copy(c, c)
		server <- err
	})})
	c := dial(t, l.Addr())
	ping(t, c, "x")
	require.Equal(t, 1, l.Reset())
	_, err := c.Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET)
	require.ErrorIs(t, <-server, syscall.ECONNRESET)
	require.Equal(t, 0, l.Reset())
}

func TestStallLosesNothing(t *testing.T) {
	for _, direction := range []string{history.Request, history.Response, ""} {
		t.Run("direction "+direction, func(t *testing.T) {
			l := open(t, link.Config{Upstream: serve(t, echo)})
			earlier := l.Watch()
			old := dial(t, l.Addr())
			ping(t, old, "before")
			require.Eventually(t, func() bool { // bytes are counted just after they left
				m := earlier.Measure()
				return m.Request.Delivered == 6 && m.Response.Delivered == 6
			}, 5*time.Second, time.Millisecond)
			w := l.Watch()
			heal := l.Stall(direction)
			fresh := dial(t, l.Addr())
			for _, c := range []*net.TCPConn{old, fresh} {
				_, err := io.WriteString(c, "during")
				require.NoError(t, err)
				require.NoError(t, c.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
				_, err = c.Read(make([]byte, 1))
				var timeout net.Error
				require.True(t, errors.As(err, &timeout) && timeout.Timeout(), "got %v", err)
				require.NoError(t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
			}
			m := w.Measure()
			stalled := m.Request
			if direction == history.Response {
				stalled = m.Response
			}
			assert.Equal(t, int64(12), stalled.Offered)
			assert.Equal(t, int64(0), stalled.Delivered)
			assert.Equal(t, int64(12), stalled.Backlog)
			assert.GreaterOrEqual(t, stalled.Wait, 100*time.Millisecond)
			heal()
			heal()
			for _, c := range []*net.TCPConn{old, fresh} {
				got := make([]byte, 6)
				_, err := io.ReadFull(c, got)
				require.NoError(t, err)
				require.Equal(t, "during", string(got))
				ping(t, c, "after")
			}
			require.Eventually(t, func() bool {
				m = w.Measure()
				return m.Request.Offered == m.Request.Delivered && m.Response.Offered == m.Response.Delivered
			}, 5*time.Second, time.Millisecond)
			assert.Equal(t, int64(22), m.Request.Offered)
			assert.GreaterOrEqual(t, m.Request.Wait+m.Response.Wait, 100*time.Millisecond)
		})
	}
}

func TestStalledBytesOfAClosedClientArriveOnHeal(t *testing.T) {
	got := make(chan string, 1)
	l := open(t, link.Config{Upstream: serve(t, func(c *net.TCPConn) {
		all, _ := io.ReadAll(c)
		got <- string(all)
	})})
	heal := l.Stall(history.Request)
	c := dial(t, l.Addr())
	_, err := io.WriteString(c, "last words")
	require.NoError(t, err)
	require.NoError(t, c.SetLinger(0))
	// RST could overtake the bytes into the link's socket: let them be read first.
	w := l.Watch()
	require.Eventually(t, func() bool { return w.Measure().Request.Wait > 0 }, 5*time.Second, time.Millisecond)
	require.NoError(t, c.Close())
	select {
	case all := <-got:
		t.Fatalf("server saw the end during the stall, after %q", all)
	case <-time.After(100 * time.Millisecond):
	}
	heal()
	assert.Equal(t, "last words", <-got)
}

func TestAFullQueueStopsReadingAndLosesNothing(t *testing.T) {
	l := open(t, link.Config{Upstream: serve(t, echo)})
	heal := l.Stall(history.Request)
	c := dial(t, l.Addr())
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<20) // 16 MiB, four times the queue
	w := l.Watch()                                          // before the first byte
	var wait sync.WaitGroup
	wait.Go(func() {
		_, _ = c.Write(sent)
		_ = c.CloseWrite()
	})
	require.Eventually(t, func() bool { return w.Measure().Request.Offered >= 4<<20 }, 5*time.Second, time.Millisecond)
	time.Sleep(100 * time.Millisecond)
	assert.Less(t, w.Measure().Request.Offered, int64(5<<20))
	heal()
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	require.True(t, bytes.Equal(sent, got))
	wait.Wait()
}

func TestAnUnreachableServerResetsTheClient(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	l := open(t, link.Config{Upstream: closed.Addr().String()})
	w := l.Watch()
	c, err := net.Dial("tcp", l.Addr())
	if err == nil { // the reset may come before Dial returns
		defer c.Close()
		_, err = c.Read(make([]byte, 1))
	}
	require.ErrorIs(t, err, syscall.ECONNRESET)
	require.Eventually(t, func() bool { return w.Measure().DialFailed == 1 }, 5*time.Second, time.Millisecond)
	l.SetUpstream(serve(t, echo))
	ping(t, dial(t, l.Addr()), "x")
}

func TestCloseEndsEverythingWhateverIsInForce(t *testing.T) {
	l := open(t, link.Config{Upstream: serve(t, echo)})
	for i, fault := range []link.Toxic{link.Latency{Delay: time.Minute}, link.Bandwidth{KBps: 1}, link.SlowClose{Delay: time.Minute}} {
		c := dial(t, l.Addr())
		ping(t, c, fmt.Sprint(i))
		_, err := l.Toxic(fault)
		require.NoError(t, err)
		_, err = c.Write(make([]byte, 64<<10))
		require.NoError(t, err)
		l.Reset()
		l2 := open(t, link.Config{Upstream: serve(t, echo)})
		l, l2 = l2, l
		start := time.Now()
		require.NoError(t, l2.Close())
		assert.Less(t, time.Since(start), 2*time.Second)
	}
}
