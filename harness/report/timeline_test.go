package report

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

func TestTimelineStaysInItsFrame(t *testing.T) {
	s := passing()
	s.Faults = append(s.Faults,
		Fault{Name: "kill", Link: "order", InjectedMS: 3000, HealedMS: 3000, Bit: true},
		Fault{Name: "down", Link: strings.Repeat("x", 100), InjectedMS: -5, HealedMS: 9999},
		Fault{Name: "stall", InjectedMS: 7000, HealedMS: -1},
	)
	s.LengthMS = 8000
	drawing := newTimeline(s)
	require.Len(t, drawing.Faults, 4)
	for _, f := range drawing.Faults {
		require.GreaterOrEqual(t, f.X, plotLeft)
		require.LessOrEqual(t, f.X+f.Width, plotRight+3)
		require.Positive(t, f.Width, "a moment can be seen")
		require.Less(t, f.Y, drawing.DotsTop)
	}
	unhealed := drawing.Faults[3]
	require.InDelta(t, plotRight, unhealed.X+unhealed.Width, 0.2, "never healed: to the end")
	require.Len(t, drawing.Phases, 4, "the end is a moment, not a phase")
	require.LessOrEqual(t, len(drawing.Ticks), 11)
	require.Equal(t, len(s.Sample), strings.Count(drawing.OK+drawing.Info+drawing.Fail, "M"))
}

func TestTimelineOfNothing(t *testing.T) {
	require.Nil(t, newTimeline(Scenario{}))
	require.Nil(t, newTimeline(Scenario{LengthMS: 100}))
	require.NotNil(t, newTimeline(Scenario{Sample: []Operation{{AtMS: 1}}}), "a single dot without duration")
}

func TestTimelineHidesWhatHasNoRoom(t *testing.T) {
	s := Scenario{Faults: make([]Fault, 30), LengthMS: 10}
	drawing := newTimeline(s)
	require.Len(t, drawing.Faults, faultRows)
	require.Equal(t, 30-faultRows, drawing.Hidden)
}

func TestThinKeepsWhatWentWrong(t *testing.T) {
	var sample []Operation
	for i := range 10_000 {
		op := Operation{AtMS: int64(i), Outcome: history.OK}
		if i%500 == 0 {
			op.Outcome = history.Info
		}
		sample = append(sample, op)
	}
	kept := thin(sample, 100)
	require.Len(t, kept, 100)
	bad, gap, last := 0, int64(0), int64(0)
	for _, op := range kept {
		if op.Outcome == history.Info {
			bad++
		}
		gap, last = max(gap, op.AtMS-last), op.AtMS
	}
	require.Equal(t, 20, bad, "all of them")
	require.Less(t, gap, int64(200), "evenly")
	require.Len(t, thin(sample[:50], 100), 50)

	for i := range sample {
		sample[i].Outcome = history.Fail
	}
	require.Len(t, thin(sample, 100), 100, "all went wrong")
}

func TestTickStep(t *testing.T) {
	for length, want := range map[int64]int64{1: 1, 9: 1, 10: 2, 99: 10, 7300: 1000, 120_000: 20_000, 3_600_000: 500_000} {
		require.Equal(t, want, tickStep(length), "%d ms", length)
	}
}
