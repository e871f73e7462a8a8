package check

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

func build(t *testing.T, events []history.Event) *View {
	t.Helper()
	builder := NewBuilder()
	for i, event := range events {
		event.Seq = int64(i + 1)
		require.NoError(t, builder.Add(event))
	}
	view := builder.View()
	if len(view.Payments) > 0 {
		view.Header.Services = paidServices
	}
	return view
}

func judge(t *testing.T, events []history.Event) Judgement {
	t.Helper()
	return Judge(build(t, events), standard())
}

// names are the anomalies found, each once, sorted.
func names(judgement Judgement) []string {
	var found []string
	for _, anomaly := range judgement.Anomalies() {
		found = append(found, anomaly.Name)
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func TestCleanHistoryPassesEverything(t *testing.T) {
	view := build(t, cleanHistory())
	for _, guarantee := range OrderAndStock {
		view.Header.Exercises = append(view.Header.Exercises, guarantee.Name)
	}
	view.Header.Exercises = append(view.Header.Exercises, contention.Name)
	judgement := Judge(view, OrderAndStock)
	for _, result := range judgement.Results {
		require.Equal(t, Pass, result.Verdict, "%s: %s %v", result.Name, result.Reason, result.Anomalies)
		require.Positive(t, result.Examined, result.Name)
	}
	require.Equal(t, Pass, judgement.Verdict)
	require.Empty(t, judgement.Reasons)
}
