package link_test

import (
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

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
