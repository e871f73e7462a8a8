package harness

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/harness/check"
	"github.com/ordeal-chaos/ordeal/harness/stack"
)

func TestMain(m *testing.M) {
	stack.Dispatch() // this binary is also the reaper
	os.Exit(m.Run())
}

// A service that cannot start is an error of the harness, which quotes what the service said last and
// names the deadline that it missed.
func TestServiceThatNeverBecomesReady(t *testing.T) {
	tests := map[string]struct {
		script string
		want   []string
	}{
		"silent for ever": {
			"echo looking for its database; exec sleep 60",
			[]string{"start dull", "deadline of 1s for readiness passed", "last lines of its log", "looking for its database"},
		},
		"gone at once": {
			"echo no such database >&2; exit 3",
			[]string{"start dull", "process ended before it was ready: exit status 3", "last lines of its log", "no such database"},
		},
	}
	backend, err := stack.NewEmbedded(t.Context(), stack.EmbeddedConfig{})
	require.NoError(t, err)
	defer func() { require.NoError(t, backend.Close()) }()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			runner := &Runner{Backend: backend, Out: t.TempDir()}
			began := time.Now()
			result := runner.Run(t.Context(), Scenario{Name: "never-ready", System: System{Services: []Service{{
				Name: "dull", Command: []string{"sh", "-c", test.script}, ReadyTimeout: time.Second,
				Env: func(Wiring) []string { return nil },
			}}}})

			require.ErrorIs(t, result.Error, ErrStack)
			require.NotEqual(t, check.Pass, result.Verdict)
			require.Less(t, time.Since(began), 10*time.Second, "the deadline is the service's own")
			story := result.Err().Error()
			require.Contains(t, story, "! the system did not start\n")
			require.NotContains(t, story, "unknown:", "all of it came of that")
			for _, part := range test.want {
				require.Contains(t, story, part)
			}
			t.Log(story)
		})
	}
}
