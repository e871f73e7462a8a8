package stack

import (
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestReservedPortRefusesAndCanBeServed(t *testing.T) {
	port, err := ReservePort()
	require.NoError(t, err)
	defer port.Close()
	for range 3 {
		_, err = net.DialTimeout("tcp", port.Addr(), time.Second)
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		listener, err := net.Listen("tcp", port.Addr())
		require.NoError(t, err)
		conn, err := net.DialTimeout("tcp", port.Addr(), time.Second)
		require.NoError(t, err)
		require.NoError(t, conn.Close())
		require.NoError(t, listener.Close())
	}
	require.NoError(t, port.Close())
	require.NoError(t, port.Close(), "again is no error")
}

// Nobody is given a reserved port: among thousands of listeners on any free port, none gets one of the
// hundreds that are reserved. Without the socket that holds it, about one in fifty does.
func TestReservedPortIsGivenToNobody(t *testing.T) {
	reserved := map[int]bool{}
	for range 500 {
		port, err := ReservePort()
		require.NoError(t, err)
		defer port.Close()
		reserved[port.Number()] = true
	}
	for range 3000 {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer listener.Close()
		require.False(t, reserved[listener.Addr().(*net.TCPAddr).Port])
	}
}
