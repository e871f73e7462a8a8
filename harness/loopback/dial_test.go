package loopback_test

import (
	"context"
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/harness/loopback"
)

func TestDialRecordsItsPortBeforeTheServerCanSeeIt(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	var ports loopback.Ports
	conn, err := ports.Dial(t.Context(), "tcp", listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	peer, err := listener.Accept()
	require.NoError(t, err)
	defer peer.Close()
	assert.Equal(t, []int{peer.RemoteAddr().(*net.TCPAddr).Port}, ports.All())
	assert.False(t, ports.Owns(1))

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = ports.Dial(ctx, "tcp", listener.Addr().String())
	assert.Error(t, err)
	assert.Equal(t, 1, ports.Dials(listener.Addr().String()), "no socket was made for the second")
	assert.Zero(t, ports.Dials("127.0.0.1:1"))
}

// TestDialThatFailsLeavesItsPort also with other addresses of this machine: a container has one of its own.
func TestDialThatFailsLeavesItsPort(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "127.0.0.2"} {
		t.Run(host, func(t *testing.T) {
			listener, err := net.Listen("tcp4", host+":0")
			if err != nil {
				t.Skipf("%s is no address of this machine: %v", host, err) // macOS has the first alone
			}
			addr := listener.Addr().String()
			var ports loopback.Ports
			conn, err := ports.Dial(t.Context(), "tcp", addr)
			require.NoError(t, err)
			defer conn.Close()
			assert.Equal(t, 1, ports.Uses(conn.LocalAddr().(*net.TCPAddr).Port), "once, not twice")

			require.NoError(t, listener.Close())
			before := len(ports.All())
			_, err = ports.Dial(t.Context(), "tcp", addr)
			assert.ErrorIs(t, err, syscall.ECONNREFUSED)
			assert.Equal(t, 1, ports.Dials(addr), "a refusal did not get there")
			assert.Len(t, ports.All(), before+1)
		})
	}
}

// TestDialLetsTheKernelChooseItsAddress: a socket bound to 127.0.0.1 could reach no container.
func TestDialLetsTheKernelChooseItsAddress(t *testing.T) {
	addresses, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, address := range addresses {
		own, ok := address.(*net.IPNet)
		if !ok || own.IP.To4() == nil || own.IP.IsLoopback() {
			continue
		}
		listener, err := net.Listen("tcp4", net.JoinHostPort(own.IP.String(), "0"))
		require.NoError(t, err)
		defer listener.Close()
		var ports loopback.Ports
		conn, err := ports.Dial(t.Context(), "tcp", listener.Addr().String())
		require.NoError(t, err)
		defer conn.Close()
		local := conn.LocalAddr().(*net.TCPAddr)
		assert.False(t, local.IP.IsLoopback(), "%s from %s", own.IP, local.IP)
		assert.Equal(t, 1, ports.Uses(local.Port))
		return
	}
	t.Skip("this machine has no IPv4 address but that of the loopback interface")
}

func TestDialOverIPv6RecordsItsPort(t *testing.T) {
	listener, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skipf("this machine has no IPv6: %v", err)
	}
	defer listener.Close()
	var ports loopback.Ports
	conn, err := ports.Dial(t.Context(), "tcp", listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	assert.Equal(t, []int{conn.LocalAddr().(*net.TCPAddr).Port}, ports.All())
	assert.Equal(t, 1, ports.Dials(listener.Addr().String()))
}
