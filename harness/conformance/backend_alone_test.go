//go:build alone

package conformance_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestServicesInContainers is a part of TestBackend: it runs in a binary that servicesInContainers builds for it, because
// services in containers are that binary and need it to be static.
func TestServicesInContainers(t *testing.T) {
	require.True(t, runsAlone(t), "it was built for that")
	serveInContainers(t)
}
