package stack

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// benchmarked makes a backend and one environment with Postgres, as at the beginning of a session.
func benchmarked(b *testing.B, brokers int) (Backend, *Environment) {
	b.Helper()
	backend, err := NewContainers(b.Context(), ContainersConfig{})
	require.NoError(b, err)
	e, err := backend.New(b.Context(), containedOptions(b, brokers))
	require.NoError(b, err)
	return backend, e
}

func containedOptions(b *testing.B, brokers int) Options {
	return Options{Dir: b.TempDir(), Databases: testDatabases, Topics: testTopics, Brokers: brokers}
}

// The targets on 2 cores: ready in 8 s with one broker and in 15 s with three, torn down in 3 s.
func BenchmarkContainersStart(b *testing.B) {
	needEngine(b)
	backend, _ := benchmarked(b, 1) // prepares Postgres, where the engine has not yet
	require.NoError(b, backend.Close())
	for _, brokers := range []int{1, 3} {
		b.Run(fmt.Sprintf("brokers=%d", brokers), func(b *testing.B) {
			var down time.Duration
			for b.Loop() {
				backend, _ := benchmarked(b, brokers)
				b.StopTimer()
				began := time.Now()
				require.NoError(b, backend.Close())
				down += time.Since(began)
				b.StartTimer()
			}
			b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s-ready")
			b.ReportMetric(down.Seconds()/float64(b.N), "s-teardown")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// The target for a fresh environment on a warm stack is 1 s.
func BenchmarkContainersFresh(b *testing.B) {
	needEngine(b)
	for _, brokers := range []int{1, 3} {
		b.Run(fmt.Sprintf("brokers=%d", brokers), func(b *testing.B) {
			backend, e := benchmarked(b, brokers)
			defer func() { require.NoError(b, backend.Close()) }()
			var closing time.Duration
			for b.Loop() {
				b.StopTimer()
				began := time.Now()
				require.NoError(b, e.Close(context.Background()))
				closing += time.Since(began)
				awaitReset(b, backend.(*containers))
				b.StartTimer()
				var err error
				e, err = backend.New(b.Context(), containedOptions(b, brokers))
				require.NoError(b, err)
			}
			b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s-fresh")
			b.ReportMetric(closing.Seconds()/float64(b.N), "s-close")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// awaitReset waits until no cluster is being reset: an experiment is judged meanwhile.
func awaitReset(b *testing.B, backend *containers) {
	b.Helper()
	backend.pool.mu.Lock()
	defer backend.pool.mu.Unlock()
	for _, r := range backend.pool.free {
		<-r.done
	}
}
