// Package conformance holds what every backend must do, whatever it is made of, and drives the links and
// their taps with the client libraries that people use, against every backend: a client that is not ours
// must work behind a link, reach its brokers through no other way, and do nothing that the tap does not
// understand.
package conformance_test

import (
	"flag"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ordeal-chaos/ordeal/harness/stack"
)

func TestMain(m *testing.M) {
	// A program built for the race detector sleeps a second at its end, and each backend has a reaper.
	_ = os.Setenv("GORACE", "atexit_sleep_ms=10")
	stack.Dispatch(service)
	// Clients mostly wait, for the heartbeats at which partitions change hands: the number of processors is
	// no reason to let one wait for another.
	flag.Parse()
	_ = flag.Set("test.parallel", strconv.Itoa(len(libraries)))
	goleak.VerifyTestMain(m)
}

// backends are those that all must work with. One that cannot be had here skips. temp is where temporary
// files go, "" the usual place.
var backends = []struct {
	name string
	open func(t *testing.T, temp string) stack.Backend
}{
	{"embedded", func(t *testing.T, temp string) stack.Backend {
		b, err := stack.NewEmbedded(t.Context(), stack.EmbeddedConfig{Log: func(line string) { t.Log(line) }, TempDir: temp})
		require.NoError(t, err)
		return b
	}},
	{"containers", func(t *testing.T, temp string) stack.Backend { return openContainers(t, temp, "process") }},
}

// openContainers skips the test where there is no engine or image. services is as in [stack.ContainersConfig].
func openContainers(t *testing.T, temp, services string) stack.Backend {
	b, err := stack.NewContainers(t.Context(), stack.ContainersConfig{
		Log: func(line string) { t.Log(line) }, TempDir: temp, Services: services,
		KafkaImage: os.Getenv(stack.KafkaImageEnv), PostgresImage: os.Getenv(stack.PostgresImageEnv),
	})
	if err != nil && os.Getenv(requireContainersEnv) == "" {
		t.Skip("no containers: ", err)
	}
	require.NoError(t, err)
	return b
}

// requireContainersEnv makes a missing engine or image a failure instead of a skip, as in package stack.
const requireContainersEnv = "ORDEAL_REQUIRE_CONTAINERS"

// TestAnyClient runs all clients at once, each behind its own links, on three brokers that advertise
// dead addresses.
func TestAnyClient(t *testing.T) {
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			backend := b.open(t, "")
			t.Cleanup(func() { require.NoError(t, backend.Close()) })
			s := newStage(t, backend)
			t.Run("clients", func(t *testing.T) {
				for _, l := range libraries {
					t.Run(l.name, func(t *testing.T) {
						t.Parallel()
						use(t, s, l)
					})
				}
			})
			s.nobodyWalkedRound(t)
		})
	}
}

// use asks a client for all that its library offers.
func use(t *testing.T, s *stage, l library) {
	u := s.user(t, l.name)
	// Registered before the client starts: it runs when the client has ended and no byte is on its way.
	t.Cleanup(func() {
		if !t.Failed() && !t.Skipped() {
			u.usedItsLinks(t)
			u.wasUnderstood(t)
		}
	})
	u.client = l.start(t, u.addresses())
	for _, protocol := range l.protocols {
		t.Run("group "+protocol, func(t *testing.T) { u.group(t, protocol) })
	}
	if l.transactions {
		t.Run("transactions", u.transactions)
	}
	t.Run("codecs", u.codecs)
	t.Run("admin", u.admin)
}
