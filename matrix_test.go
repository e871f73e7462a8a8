package ordeal_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	ordeal "github.com/ordeal-chaos/ordeal"
	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/price"
	"github.com/ordeal-chaos/ordeal/harness/stack"
	"github.com/ordeal-chaos/ordeal/services"
)

func TestGrid(t *testing.T) {
	grid, err := ordeal.NewGrid(nil, nil, stack.Capabilities{}, 1)
	require.NoError(t, err)
	assert.Len(t, grid.Designs, len(services.Designs()))
	assert.Equal(t, ordeal.Telling(), grid.Scenarios)
	absent := map[[2]string]bool{}
	for _, a := range grid.Absent {
		absent[[2]string{a.Design, a.Scenario}] = true
		assert.NotEmpty(t, a.Why)
		assert.NotEqual(t, services.Sound, a.Design, "%s: %s", a.Scenario, a.Why)
	}
	for _, design := range grid.Designs {
		assert.Equal(t, design.Name, grid.System(design.Name).Name)
		for _, scenario := range grid.Scenarios {
			if !absent[[2]string{design.Name, scenario.Name}] {
				cell := grid.Scenario(design.Name, scenario.Name)
				assert.Equal(t, scenario.Name, cell.Name)
				assert.Equal(t, design.Name, cell.System.Name)
			}
		}
	}

	all, err := ordeal.NewGrid([]string{"sound", "sound"}, []string{ordeal.AllScenarios}, stack.Capabilities{}, 1)
	require.NoError(t, err)
	assert.Len(t, all.Designs, 1)
	assert.NotEmpty(t, all.LeftOut)
	assert.Len(t, ordeal.Catalogue(ordeal.Sound), len(all.Scenarios)+len(all.LeftOut))
	codes := map[string]bool{}
	for _, s := range all.Scenarios {
		assert.False(t, codes[s.Code], "%s stands for two scenarios", s.Code)
		codes[s.Code] = true
	}

	apart, err := ordeal.NewGrid([]string{"sound"}, all.LeftOut, stack.Capabilities{BrokersApart: true}, 3)
	require.NoError(t, err)
	assert.Len(t, apart.Scenarios, len(all.LeftOut))
	_, err = ordeal.NewGrid([]string{"sound"}, all.LeftOut, stack.Capabilities{}, 1)
	assert.ErrorIs(t, err, harness.ErrUsage)
}

// TestPrice measures the sound design with a small load: what must be so on any machine.
func TestPrice(t *testing.T) {
	runner, err := harness.SharedRunner(t.Context())
	require.NoError(t, err)
	own := harness.Runner{Backend: runner.Backend, Brokers: runner.Brokers, Out: t.TempDir()}
	figures, err := own.Price(t.Context(), ordeal.Sound(), price.Plan{Warmup: 20, Orders: 60, Pace: 40, Burst: 150})
	require.NoError(t, err)
	for name, load := range map[string]struct {
		phase  price.Phase
		orders int
	}{"paced": {figures.Paced, 80}, "saturated": {figures.Saturated, 170}} {
		phase := load.phase
		assert.Equal(t, [3]int{load.orders, load.orders, 0}, [3]int{phase.Placed, phase.Confirmed, phase.Refused}, name)
		assert.Empty(t, phase.Open, name)
		assert.InDelta(t, 3, phase.Records, 0.001, "%s: OrderPlaced, StockReserved, OrderConfirmed", name)
		assert.Positive(t, phase.P50, name)
		assert.GreaterOrEqual(t, phase.P99, phase.P50, name)
		assert.Less(t, phase.P99, 5000.0, name)
		assert.Greater(t, phase.Commits, 3.0, "%s: at least the order's, the stock's and the confirmation's", name)
		assert.Less(t, phase.Commits, 40.0, name)
		assert.Greater(t, phase.WALBytes, 1500.0, name)
		assert.Less(t, phase.WALBytes, 40_000.0, name)
	}
	assert.InDelta(t, 40, figures.Paced.PerSecond, 6, "it confirms as many as arrive")
	assert.Greater(t, figures.Saturated.PerSecond, figures.Paced.PerSecond)
	left, err := os.ReadDir(own.Out)
	require.NoError(t, err)
	for _, entry := range left {
		assert.Equal(t, "price", entry.Name())
	}
}
