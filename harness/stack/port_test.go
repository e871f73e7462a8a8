package stack

import (
	"context"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
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

func TestDialRecordsItsPortBeforeTheServerCanSeeIt(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	var ports Ports
	conn, err := ports.Dial(t.Context(), "tcp", listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	peer, err := listener.Accept()
	require.NoError(t, err)
	defer peer.Close()
	assert.Equal(t, []int{peer.RemoteAddr().(*net.TCPAddr).Port}, ports.All())
	assert.False(t, ports.Owns(1))

	other, err := net.Listen("tcp", "127.0.0.2:0") // an address that it does not bind for
	require.NoError(t, err)
	defer other.Close()
	elsewhere, err := ports.Dial(t.Context(), "tcp", other.Addr().String())
	require.NoError(t, err)
	defer elsewhere.Close()
	assert.True(t, ports.Owns(elsewhere.LocalAddr().(*net.TCPAddr).Port))

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = ports.Dial(ctx, "tcp", listener.Addr().String())
	assert.Error(t, err)

	// A dial that never succeeds leaves its port recorded all the same.
	before := len(ports.All())
	closed, err := ReservePort()
	require.NoError(t, err)
	defer closed.Close()
	_, err = ports.Dial(t.Context(), "tcp", closed.Addr())
	assert.ErrorIs(t, err, syscall.ECONNREFUSED)
	assert.Len(t, ports.All(), before+1)
}
