package link_test

import (
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ordeal-chaos/ordeal/harness/stack"
)

// freeAddr is a loopback address that is ours until the test ends, and on which a server can listen.
func freeAddr(t testing.TB) string {
	t.Helper()
	port, err := stack.ReservePort()
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, port.Close()) })
	return port.Addr()
}

func splitAddr(addr string) (host, port string, err error) { return net.SplitHostPort(addr) }

// bindAlone listens on a port without sharing it, until the test ends.
func bindAlone(t testing.TB, host, port string) (net.Listener, error) {
	t.Helper()
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) {
			assert.NoError(t, unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 0))
		})
	}}
	listener, err := config.Listen(t.Context(), "tcp4", net.JoinHostPort(host, port))
	if err == nil {
		t.Cleanup(func() { assert.NoError(t, listener.Close()) })
	}
	return listener, err
}
