package link_test

import (
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/harness/link"
)

// hosts are two addresses of this machine, or one on systems that have only that.
func hosts(t testing.TB) []string {
	t.Helper()
	hosts := []string{"127.0.0.1"}
	if listener, err := net.Listen("tcp4", "127.0.0.2:0"); err == nil {
		require.NoError(t, listener.Close())
		hosts = append(hosts, "127.0.0.2")
	}
	return hosts
}

// TestListensOnTheHostsItIsGiven, on one port, and on no other; refusing and healing reach all of them.
func TestListensOnTheHostsItIsGiven(t *testing.T) {
	hosts := hosts(t)
	l := open(t, link.Config{Upstream: serve(t, echo), Listen: hosts})
	assert.Equal(t, l.AddrOn(hosts[0]), l.Addr())
	_, port, err := splitAddr(l.Addr())
	require.NoError(t, err)
	reached := func() {
		for _, host := range hosts {
			assert.Equal(t, host+":"+port, l.AddrOn(host))
			ping(t, dial(t, l.AddrOn(host)), "x")
		}
	}
	reached()
	_, err = net.Dial("tcp", "127.0.0.3:"+port)
	require.Error(t, err, "it must listen nowhere else")

	heal, err := l.Refuse()
	require.NoError(t, err)
	for _, host := range hosts {
		_, err = net.Dial("tcp", l.AddrOn(host))
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		// Without SO_REUSEADDR, as another program would, or as the kernel picks a port for one.
		_, err = bindAlone(t, host, port)
		require.ErrorIs(t, err, syscall.EADDRINUSE, "the port stays the link's on %s", host)
	}
	require.NoError(t, heal())
	reached()
}

func TestListenNeedsAddressesOfThisMachine(t *testing.T) {
	for _, host := range []string{"localhost", "::1", "", "192.0.2.1"} {
		_, err := link.Open(link.Config{Name: "a->b", Upstream: "127.0.0.1:1", Listen: []string{"127.0.0.1", host}})
		assert.ErrorContains(t, err, "open link a->b: reserve port", "%q", host)
	}
}

// TestRefusedServerIsNotDialled: a dead container's address answers nobody, so the link must not ask it.
func TestRefusedServerIsNotDialled(t *testing.T) {
	var accepted atomic.Int32
	var down atomic.Bool
	upstream := serve(t, func(c *net.TCPConn) { accepted.Add(1); echo(c) })
	l := open(t, link.Config{Upstream: upstream, Refused: down.Load})
	ping(t, dial(t, l.Addr()), "x")

	down.Store(true)
	w := l.Watch()
	c, err := net.Dial("tcp", l.Addr())
	if err == nil { // else the reset was faster than the end of connect
		defer c.Close()
		_, err = c.Read(make([]byte, 1))
	}
	require.ErrorIs(t, err, syscall.ECONNRESET)
	require.Eventually(t, func() bool { return w.Measure().DialFailed == 1 }, 5*time.Second, time.Millisecond)
	assert.Equal(t, int64(1), w.Measure().Opened)
	assert.Equal(t, int32(1), accepted.Load())
	assert.Equal(t, 1, l.Dials(upstream))
	assert.Len(t, l.Ports(), 1)

	down.Store(false)
	ping(t, dial(t, l.Addr()), "y")
	assert.Equal(t, 2, l.Dials(upstream))
}
