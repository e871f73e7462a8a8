package price

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestQuantile(t *testing.T) {
	var values []time.Duration
	for i := 100; i >= 1; i-- {
		values = append(values, time.Duration(i))
	}
	assert.Equal(t, time.Duration(50), Quantile(values, 0.5))
	assert.Equal(t, time.Duration(99), Quantile(values, 0.99))
	assert.Equal(t, time.Duration(100), Quantile(values, 1))
	assert.Equal(t, time.Duration(7), Quantile([]time.Duration{7}, 0.99))
	assert.Equal(t, time.Duration(9), Quantile([]time.Duration{9, 7, 8}, 0.99))
	assert.Zero(t, Quantile(nil, 0.5))
}

func TestTiming(t *testing.T) {
	began := time.Now()
	var samples []Sample
	for i := range 1000 {
		sent := began.Add(time.Duration(i) * 10 * time.Millisecond)
		took := 5 * time.Millisecond
		if i%50 == 0 {
			took = time.Second
		}
		samples = append(samples, Sample{Sent: sent, Confirmed: sent.Add(took)})
	}
	var phase Phase
	phase.timing(samples)
	assert.InDelta(t, 5, phase.P50, 0.001)
	assert.InDelta(t, 1000, phase.P99, 0.001)
	assert.InDelta(t, 100, phase.PerSecond, 1)

	phase.timing(samples[:10])
	assert.Zero(t, phase.PerSecond, "ten confirmations are no rate")
}

func TestLoads(t *testing.T) {
	pace, burst := Plan{Orders: 7}.Loads()
	assert.Equal(t, Load{Warmup: 100, Orders: 7, Pace: 50, Clients: 16, SKUs: 200}, pace)
	assert.Equal(t, Load{Warmup: 100, Orders: 1500, Clients: 16, SKUs: 200}, burst)
}

// A machine that is busy elsewhere shows in how late requests leave.
func TestDisturbed(t *testing.T) {
	assert.False(t, Figures{Paced: Phase{Late: 1.5}}.Disturbed())
	assert.True(t, Figures{Paced: Phase{Late: 60}}.Disturbed())
}
