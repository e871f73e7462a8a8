package ordeal_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	ordeal "github.com/ordeal-chaos/ordeal"
	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/check"
	"github.com/ordeal-chaos/ordeal/harness/stack"
)

// BenchmarkFirstOrder measures from nothing to the first confirmed order: a new backend, a fresh
// environment, services started. Target: 2.5 s.
func BenchmarkFirstOrder(b *testing.B) {
	var total time.Duration
	for b.Loop() {
		start := time.Now()
		backend, err := stack.NewEmbedded(b.Context(), stack.EmbeddedConfig{})
		require.NoError(b, err)
		before := time.Since(start)
		runner := harness.Runner{Backend: backend, Out: b.TempDir(), Seed: 1}
		result := runner.Run(b.Context(), harness.Scenario{Name: "first-order", System: ordeal.Sound(), Workload: harness.Checkout{Orders: 20}})
		require.NoError(b, result.Err())
		require.NotZero(b, result.FirstOrder)
		total += before + result.FirstOrder
		require.NoError(b, backend.Close())
	}
	b.ReportMetric(total.Seconds()/float64(b.N), "s/first-order")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkOrders measures confirmed orders a second, without faults, all taps on the databases and
// topics in place: through links, and with the same services connected directly, in turn. Targets: 250
// a second through links, and 60 % of direct.
func BenchmarkOrders(b *testing.B) {
	backend, err := stack.NewEmbedded(b.Context(), stack.EmbeddedConfig{})
	require.NoError(b, err)
	defer func() { require.NoError(b, backend.Close()) }()
	rate := func(direct bool) float64 {
		runner := harness.Runner{Backend: backend, Out: b.TempDir(), Seed: 1, Direct: direct}
		result := runner.Run(b.Context(), harness.Scenario{
			Name: "throughput", System: ordeal.Sound(),
			Workload: harness.Checkout{Orders: 3000, Rate: 5000, Clients: 32, SKUs: 200},
		})
		require.NoError(b, result.Error)
		return confirmedRate(result.View)
	}
	var links, direct float64
	runs := 0
	for b.Loop() {
		for range 2 { // in turn, so that a machine that drifts hurts both
			direct += rate(true)
			links += rate(false)
			runs++
		}
	}
	b.ReportMetric(direct/float64(runs), "direct-orders/s")
	b.ReportMetric(links/float64(runs), "links-orders/s")
	b.ReportMetric(100*links/direct, "%-of-direct")
	b.ReportMetric(0, "ns/op")
}

// confirmedRate is confirmed orders a second, the first and last tenth left out.
func confirmedRate(view *check.View) float64 {
	var at []time.Duration
	for _, order := range view.Orders {
		for _, version := range order.Versions {
			if version.Status == check.Confirmed {
				at = append(at, version.At)
			}
		}
	}
	if len(at) < 20 {
		return 0
	}
	slices.Sort(at)
	first, last := len(at)/10, len(at)-len(at)/10-1
	return float64(last-first) / (at[last] - at[first]).Seconds()
}
