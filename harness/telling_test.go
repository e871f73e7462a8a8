package harness

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/harness/check"
)

func anomaly(name, subject string, events ...int64) check.Anomaly {
	return check.Anomaly{Name: name, Guarantee: "g", Subject: subject, Events: events}
}

// A cause comes before its consequence, also where the checkers named it later or in the same event.
func TestMostTellingFirst(t *testing.T) {
	tests := map[string]struct{ found, want []check.Anomaly }{
		"a consequence comes last": {
			found: []check.Anomaly{anomaly(check.MissingDeduction, "order 1", 7, 90), anomaly(check.StuckPartition, "t/0", 12, 400)},
			want:  []check.Anomaly{anomaly(check.StuckPartition, "t/0", 12, 400), anomaly(check.MissingDeduction, "order 1", 7, 90)},
		},
		"what was complete first, name by name": {
			found: []check.Anomaly{
				anomaly(check.DoubleEffect, "order 9", 5, 60), anomaly(check.DoubleEffect, "order 8", 6, 50),
				anomaly(check.PhantomEvent, "event 1", 55), anomaly(check.PublishedBeforeCommit, "event 2", 70, 40),
			},
			want: []check.Anomaly{
				anomaly(check.DoubleEffect, "order 8", 6, 50), anomaly(check.DoubleEffect, "order 9", 5, 60),
				anomaly(check.PhantomEvent, "event 1", 55), anomaly(check.PublishedBeforeCommit, "event 2", 70, 40),
			},
		},
		"no proof comes last": {
			found: []check.Anomaly{anomaly(check.LostUpdate, "sku 1"), anomaly(check.LostEvent, "order 2", 3)},
			want:  []check.Anomaly{anomaly(check.LostEvent, "order 2", 3), anomaly(check.LostUpdate, "sku 1")},
		},
		"a lost acknowledgement explains the lost event": {
			found: []check.Anomaly{anomaly(check.LostAck, "order 1", 9), anomaly(check.LostEvent, "order 1", 3)},
			want:  []check.Anomaly{anomaly(check.LostAck, "order 1", 9), anomaly(check.LostEvent, "order 1", 3)},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, test.want, mostTellingFirst(test.found))
			require.Equal(t, test.want, mostTellingFirst(test.want), "sorting again changes nothing")
		})
	}
}

func TestEveryConsequenceIsAnAnomaly(t *testing.T) {
	var names []string
	for _, kind := range check.Kinds {
		names = append(names, kind.Name)
	}
	require.Subset(t, names, consequences)
}

func TestResultNamesItsAnomaliesOnce(t *testing.T) {
	result := Result{Judgement: check.Judgement{Results: []check.Result{
		{Verdict: check.Fail, Anomalies: []check.Anomaly{anomaly(check.Oversell, "sku 1", 2), anomaly(check.LostUpdate, "sku 1", 3)}},
		{Verdict: check.Fail, Anomalies: []check.Anomaly{anomaly(check.LostUpdate, "sku 2", 1)}},
		{Verdict: check.Unknown, Anomalies: []check.Anomaly{anomaly(check.LostAck, "order 1", 1)}},
	}}}
	require.Equal(t, []string{check.LostUpdate, check.Oversell}, result.Anomalies())
}

func TestEffectOfAFaultThatCouldNotBeInjected(t *testing.T) {
	require.Equal(t, "0 waited; no such row", effect("0 waited", "no such row"))
	require.Equal(t, "0 waited", effect("0 waited", ""))
	require.Equal(t, "no such row", effect("", "no such row"))
}
