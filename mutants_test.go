package ordeal_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	ordeal "github.com/ordeal-chaos/ordeal"
	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/check"
)

// The committed table is whole: every bug, every guard, and of what cannot be planted no more than a few.
func TestMutantTable(t *testing.T) {
	mutants, err := ordeal.Mutants()
	require.NoError(t, err)
	assert.Empty(t, ordeal.Unguarded(mutants), "no planted bug removes them")
	unplantable := 0
	for _, m := range mutants {
		if m.Unplantable != "" {
			unplantable++
		}
	}
	assert.LessOrEqual(t, unplantable, 3)
}

// The committed baseline knows only mutants that there are. What it does not know must be killed.
func TestCommittedMutantBaseline(t *testing.T) {
	mutants, err := ordeal.ListMutants()
	require.NoError(t, err)
	baseline, err := ordeal.CommittedMutantBaseline()
	require.NoError(t, err)
	for id := range baseline {
		assert.True(t, slices.ContainsFunc(mutants, func(m ordeal.Mutant) bool { return m.ID == id }), id)
	}
}

// entry is a table of one entry with these lines besides what each needs.
func entry(id string, lines ...string) string {
	return fmt.Sprintf("- id: %s\n  bug: something breaks\n  source: a test\n  %s\n", id, strings.Join(lines, "\n  "))
}

// planted are the lines of an entry that is as it should be, without those of these fields.
func planted(without ...string) []string {
	var lines []string
	for _, line := range []string{"design: sound", "without: inbox-dedup", "scenario: redelivery", "predicts: [double-effect]"} {
		field, _, _ := strings.Cut(line, ":")
		if !contains(without, field) {
			lines = append(lines, line)
		}
	}
	return lines
}

func TestMutantTableRefusals(t *testing.T) {
	with := func(line string) string {
		field, _, _ := strings.Cut(line, ":")
		return entry("B11", append(planted(field), line)...)
	}
	tests := map[string]struct{ table, want string }{
		"design":                       {with("design: sond"), `mutant B11: no design "sond": did you mean "sound"?`},
		"parts that contradict":        {with("design: ack-time+ack-record"), `mutant B11: parts "ack-time" and "ack-record" contradict each other`},
		"guard":                        {with("without: inbox-dedop"), `mutant B11: unknown guard "inbox-dedop": did you mean "inbox-dedup"?`},
		"guard that the design lacks":  {with("without: horizon"), `mutant B11: design sound has no guard "horizon" to remove`},
		"scenario":                     {with("scenario: redelivry"), `mutant B11: no scenario "redelivry"; nearest: redelivery`},
		"anomaly":                      {with("predicts: [duble-effect]"), `mutant B11: no anomaly "duble-effect"; nearest: double-effect`},
		"no anomaly":                   {with("predicts: []"), "mutant B11: it predicts no anomaly"},
		"needs":                        {entry("B11", "design: single-writer", "without: inbox-dedup", "scenario: last-units", "predicts: [oversell]"), "mutant B11: scenario last-units needs reservations, which design single-writer does not have"},
		"needs of what is restored":    {entry("B11", "design: sound", "restored: single-writer", "scenario: last-units", "predicts: [oversell]"), "mutant B11: scenario last-units needs reservations, which design single-writer does not have"},
		"both":                         {entry("B11", append(planted(), "restored: outbox-cursor")...), "mutant B11: it has both without and restored"},
		"neither":                      {entry("B11", planted("without")...), "mutant B11: it has neither without nor restored"},
		"restored to itself":           {entry("B11", append(planted("without"), "restored: sound")...), "mutant B11: restored is the design itself"},
		"unplantable with a scenario":  {entry("B11", append(planted(), "unplantable: it cannot be")...), "mutant B11: what is unplantable has no design"},
		"no words":                     {"- {id: B11, design: sound, without: inbox-dedup, scenario: redelivery, predicts: [double-effect]}", "mutant B11: it needs bug and source"},
		"twice":                        {entry("B11", planted()...) + entry("B11", planted()...), "mutant B11 is there twice"},
		"no id":                        {"- bug: something breaks", "entry 1 of the mutants has no id"},
		"id":                           {entry("B42", planted()...), `mutant "B42": the ids are B1 to B41`},
		"unknown field":                {entry("B11", append(planted(), "guard: inbox-dedup")...), "field guard not found"},
		"another kind of file":         {"B11: KILLED", "read mutants"},
		"first of several, and second": {entry("B1", "unplantable: it cannot be") + with("scenario: none"), "mutant B11: no scenario"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			mutants, err := ordeal.ParseMutants([]byte(test.table))
			if err == nil {
				err = ordeal.CheckMutants(mutants)
			}
			require.ErrorIs(t, err, harness.ErrUsage)
			assert.ErrorContains(t, err, test.want)
			assert.NotContains(t, err.Error(), "\n", "said once")
		})
	}
	good, err := ordeal.ParseMutants([]byte(entry("B11", planted()...) + entry("B11b", planted()...)))
	require.NoError(t, err)
	require.NoError(t, ordeal.CheckMutants(good))
	assert.Equal(t, "B11", good[1].Number())
}

// Both runs of a mutant have the same scenario, and differ in the bug alone.
func TestMutantRuns(t *testing.T) {
	mutants, err := ordeal.ParseMutants([]byte(entry("B11", planted()...) +
		entry("B1", "design: outbox-cursor", "restored: sound", "scenario: calm", "predicts: [lost-event]")))
	require.NoError(t, err)
	for i, want := range []struct {
		design, sound string
		without       []string
	}{{"sound", "sound", []string{"inbox-dedup"}}, {"outbox-cursor", "sound", nil}} {
		with, err := mutants[i].Planted()
		require.NoError(t, err)
		without, err := mutants[i].Sound()
		require.NoError(t, err)
		assert.Equal(t, with.Name, without.Name)
		assert.Equal(t, want.design, with.System.Name)
		assert.ElementsMatch(t, want.without, with.System.Without)
		assert.Equal(t, want.sound, without.System.Name)
		assert.Empty(t, without.System.Without)
	}
}

func TestJudgeMutant(t *testing.T) {
	guard := ordeal.Mutant{Without: "inbox-dedup", Predicts: []string{"double-effect", "oversell"}}
	part := ordeal.Mutant{Restored: "sound", Predicts: []string{"lost-event"}}
	failed := func(anomalies ...string) ordeal.MutantRun {
		return ordeal.MutantRun{Verdict: check.Fail, Anomalies: anomalies, Reached: true}
	}
	passed := ordeal.MutantRun{Verdict: check.Pass, Reached: true}
	unknown := ordeal.MutantRun{Reason: "a fault did not bite", Reached: true}
	unreached := func(run ordeal.MutantRun) ordeal.MutantRun { run.Reached = false; return run }
	tests := map[string]struct {
		mutant         ordeal.Mutant
		planted, sound ordeal.MutantRun
		want           ordeal.MutantVerdict
		detail         string
	}{
		"killed":                             {guard, failed("lost-event", "double-effect"), passed, ordeal.Killed, "double-effect, lost-event"},
		"killed by another prediction":       {guard, failed("oversell"), passed, ordeal.Killed, "oversell"},
		"a part":                             {part, failed("lost-event"), passed, ordeal.Killed, "lost-event"},
		"survived":                           {guard, passed, passed, ordeal.Survived, "every guarantee was kept; predicted: double-effect or oversell"},
		"survived, whatever else":            {guard, passed, unknown, ordeal.Survived, "predicted"},
		"wrong anomaly":                      {guard, failed("lost-event"), passed, ordeal.WrongAnomaly, "lost-event; predicted: double-effect or oversell"},
		"stale":                              {guard, unreached(passed), passed, ordeal.Stale, "no service came to where inbox-dedup would have acted"},
		"stale, with the predicted anomaly":  {guard, unreached(failed("double-effect")), passed, ordeal.Stale, "yet there was double-effect"},
		"nothing acknowledged":               {part, unreached(passed), passed, ordeal.Stale, "nothing was acknowledged"},
		"false alarm":                        {guard, failed("double-effect"), failed("double-effect"), ordeal.FalseAlarm, "without the bug: double-effect"},
		"false alarm, and an unknown":        {guard, unknown, failed("oversell"), ordeal.FalseAlarm, "without the bug: oversell"},
		"unknown":                            {guard, unknown, passed, ordeal.NotKnown, "with the bug: a fault did not bite"},
		"unknown without the bug":            {guard, failed("double-effect"), unknown, ordeal.NotKnown, "without the bug: a fault did not bite"},
		"unknown, and the code never ran":    {guard, unreached(unknown), passed, ordeal.NotKnown, "with the bug"},
		"runs that never were prove nothing": {guard, ordeal.MutantRun{}, ordeal.MutantRun{}, ordeal.NotKnown, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			verdict, detail := ordeal.JudgeMutant(test.mutant, test.planted, test.sound)
			assert.Equal(t, test.want, verdict)
			assert.Contains(t, detail, test.detail)
		})
	}
}

func TestSumUp(t *testing.T) {
	times := func(n int, v ordeal.MutantVerdict) []ordeal.MutantVerdict {
		var list []ordeal.MutantVerdict
		for range n {
			list = append(list, v)
		}
		return list
	}
	for name, test := range map[string]struct {
		verdicts []ordeal.MutantVerdict
		want     ordeal.MutantVerdict
		killed   int
	}{
		"once":            {times(1, ordeal.Killed), ordeal.Killed, 1},
		"19 of 20":        {append(times(19, ordeal.Killed), ordeal.Survived), ordeal.Killed, 19},
		"18 of 20":        {append(times(18, ordeal.Killed), times(2, ordeal.NotKnown)...), ordeal.NotKnown, 18},
		"mostly survived": {append(times(9, ordeal.Survived), ordeal.Stale, ordeal.Killed), ordeal.Survived, 1},
		"a false alarm":   {append(times(19, ordeal.Killed), ordeal.FalseAlarm), ordeal.FalseAlarm, 19},
		"1 of 2":          {append(times(1, ordeal.Killed), ordeal.Survived), ordeal.Survived, 1},
		"nothing":         {nil, ordeal.NotKnown, 0},
	} {
		t.Run(name, func(t *testing.T) {
			verdict, killed := ordeal.SumUp(test.verdicts)
			assert.Equal(t, test.want, verdict)
			assert.Equal(t, test.killed, killed)
		})
	}
}

func TestMutantBaseline(t *testing.T) {
	const text = "B2: {embedded: KILLED}\nB10: {containers: KILLED, embedded: SURVIVED}\nB34: {embedded: UNPLANTABLE}\n"
	baseline, err := ordeal.ParseMutantBaseline([]byte(text))
	require.NoError(t, err)
	assert.Regexp(t, "^#", string(baseline.Bytes()))
	assert.Contains(t, string(baseline.Bytes()), text, "it is written as it is read")

	for _, test := range []struct {
		id             string
		is             ordeal.MutantVerdict
		differs        bool
		worse, unknown bool
	}{
		{"B2", ordeal.Killed, false, false, false}, // known as killed
		{"B2", ordeal.Survived, true, true, false},
		{"B2", ordeal.Stale, true, true, false},
		{"B2", ordeal.LeftOut, true, true, false},
		{"B2", ordeal.NotKnown, true, false, true},
		{"B2", ordeal.FalseAlarm, true, true, false},
		{"B10", ordeal.Survived, false, false, false}, // known as a survivor
		{"B10", ordeal.WrongAnomaly, true, false, false},
		{"B10", ordeal.Killed, true, false, false},
		{"B10", ordeal.FalseAlarm, true, true, false},
		{"B34", ordeal.Unplantable, false, false, false},
		{"B5", ordeal.Killed, false, false, false}, // the baseline does not know it
		{"B5", ordeal.Survived, true, true, false},
		{"B5", ordeal.LeftOut, false, false, false},
	} {
		changes := baseline.Changes("embedded", map[string]ordeal.MutantVerdict{test.id: test.is})
		if !test.differs {
			assert.Empty(t, changes, "%+v", test)
			continue
		}
		if assert.Len(t, changes, 1, "%+v", test) {
			assert.Equal(t, []bool{test.worse, test.unknown}, []bool{changes[0].Worse, changes[0].Unknown}, "%+v", test)
		}
	}
	for bad, want := range map[string]string{
		"B2: {embedded: DEAD}": `B2 on embedded has no verdict "DEAD"`, "X1: {embedded: KILLED}": `can be called "X1"`, "- B2": "read baseline",
	} {
		_, err := ordeal.ParseMutantBaseline([]byte(bad))
		require.ErrorIs(t, err, harness.ErrUsage)
		assert.ErrorContains(t, err, want)
	}
	assert.Equal(t, "embedded", ordeal.BackendClass("embedded", 1))
	assert.Equal(t, "containers-3", ordeal.BackendClass("containers", 3))
}

func TestGuardReached(t *testing.T) {
	dir := t.TempDir()
	_, err := ordeal.GuardReached(dir, "outbox")
	require.ErrorContains(t, err, "read logs")
	require.NoError(t, os.Mkdir(filepath.Join(dir, "logs"), 0o755))
	log := strings.Repeat("x", 100_000) + "\n" + `time=2026-01-01T00:00:00Z level=INFO msg="guard is missing" instance=stock guard=outbox` + "\nmore\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "logs", "order.log"), []byte("guard=sweeper\n"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "logs", "stock.log"), []byte(log), 0o644))
	for guard, want := range map[string]bool{"outbox": true, "after-commit-outbox": false, "sweeper": false, "out": false} {
		reached, err := ordeal.GuardReached(dir, guard)
		require.NoError(t, err)
		assert.Equal(t, want, reached, guard)
	}
}
