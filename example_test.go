package ordeal_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	ordeal "github.com/ordeal-chaos/ordeal"
	"github.com/ordeal-chaos/ordeal/faults"
	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/check"
)

// TestCheckoutSurvivesABrokerOutage is what a user of Ordeal writes; TestMain calls harness.Main, as in
// scenarios_test.go. README.md shows this test.
func TestCheckoutSurvivesABrokerOutage(t *testing.T) {
	t.Parallel()
	result := harness.Run(t.Context(), harness.Scenario{
		Name:     "checkout-broker-outage",
		System:   ordeal.Sound(), // or your own services and their databases
		Workload: harness.Checkout{Orders: 100, Lines: 2, Stock: 500},
		Faults: harness.Schedule{
			harness.During(500*time.Millisecond, 2*time.Second, faults.Down("order->kafka-1")),
			harness.At(harness.CommitReply("order"), faults.Kill("order")).After(3 * time.Second),
		},
		Guarantees: check.OrderAndStock,
	})
	require.NoError(t, result.Err()) // names the guarantee, the order, and the command that repeats it
}
