package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	ordeal "github.com/ordeal-chaos/ordeal"
	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/report"
	"github.com/ordeal-chaos/ordeal/harness/stack"
)

// two are a scenario for any backend and one that needs three brokers.
func two() []harness.Scenario {
	return []harness.Scenario{
		{Name: "anywhere", System: ordeal.Sound(), Exposes: []string{"outbox"}},
		{Name: "apart", System: ordeal.Sound(), Brokers: 3, Exposes: []string{"sweeper"}},
	}
}

// What the backend cannot run is left out and named, not forgotten.
func TestFit(t *testing.T) {
	tests := map[string]struct {
		on      stack.Capabilities
		brokers int
		whole   bool
	}{
		"embedded":                    {stack.Capabilities{}, 1, false},
		"embedded, three brokers":     {stack.Capabilities{}, 3, false},
		"containers":                  {stack.Capabilities{BrokersApart: true}, 1, false},
		"containers, three brokers":   {stack.Capabilities{BrokersApart: true}, 3, true},
		"as --backend containers has": {capabilities(containers), 3, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := selection{scenarios: two(), catalogue: two(), without: []string{"outbox", "sweeper", "inbox-dedup"}}
			require.NoError(t, s.fit(test.on, test.brokers))
			none := "no scenario of this run exposes the lack of "
			if test.whole {
				require.Len(t, s.scenarios, 2)
				require.Empty(t, s.leftOut)
				require.Equal(t, []string{none + "inbox-dedup"}, s.remarks())
				return
			}
			require.Equal(t, []string{"anywhere"}, scenarioNames(s.scenarios))
			require.Equal(t, []report.LeftOut{{Needs: "--backend containers --brokers 3", Scenarios: []string{"apart"}}}, s.leftOut)
			require.Equal(t, []string{
				"1 scenario was left out: it needs --backend containers --brokers 3",
				none + "sweeper: apart would, with --backend containers --brokers 3",
				none + "inbox-dedup",
			}, s.remarks())
		})
	}
}

// What the user asked for is not left out.
func TestFitOfNames(t *testing.T) {
	s := selection{scenarios: two(), catalogue: two(), named: true}
	err := s.fit(stack.Capabilities{BrokersApart: true}, 1)
	require.ErrorIs(t, err, harness.ErrUsage)
	require.ErrorContains(t, err, `scenario "apart" needs three separate brokers: run it with --backend containers --brokers 3`)

	s = selection{scenarios: two()[:1], catalogue: two(), named: true, without: []string{"sweeper", "outbox"}}
	require.NoError(t, s.fit(stack.Capabilities{BrokersApart: true}, 3))
	require.Equal(t, []string{"no scenario of this run exposes the lack of sweeper: apart would"}, s.remarks())
}

// What a run leaves out is said before it, at its end, and in its reports.
func TestRunSaysWhatItLeavesOut(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	run := s.start(t, "run", "--without", "acks-all", "--json", "--parallel", "1", "--out", s.out)
	run.await(t, "exposes the lack of acks-all")
	run.interrupt(t)
	run.requireCode(t, exitInterrupted)
	require.Regexp(t, `(?m)^\S+ \d+ scenarios were left out: they need --backend containers --brokers 3$`, run.stderr.String())

	said := decode(t, run.stdout.String())
	require.Len(t, said.LeftOut, 2)
	require.Equal(t, threeBrokers, said.LeftOut[0].Needs)
	require.Contains(t, said.LeftOut[0].Scenarios, "leader-loss")
	require.Equal(t, "another design than sound", said.LeftOut[1].Needs)
	require.Contains(t, said.LeftOut[1].Scenarios, "insert-fails")
	require.Len(t, said.Notes, 1)
	require.Regexp(t, `^no scenario of this run exposes the lack of acks-all: \S.* would, with --backend containers --brokers 3$`, said.Notes[0])
	summary, err := os.ReadFile(filepath.Join(s.out, report.MarkdownFile))
	require.NoError(t, err)
	require.Contains(t, string(summary), " scenarios were left out: they need --backend containers")
}
