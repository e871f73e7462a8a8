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
	require.NoError(t, other.Close())
	require.NoError(t, listener.Close())
	_, err = ports.Dial(t.Context(), "tcp", listener.Addr().String())
	assert.ErrorIs(t, err, syscall.ECONNREFUSED)
	assert.Len(t, ports.All(), before+1)
}
