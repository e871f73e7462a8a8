package link_test

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// freeAddr is a loopback address that nothing listens on now.
func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

func splitAddr(addr string) (host, port string, err error) { return net.SplitHostPort(addr) }
