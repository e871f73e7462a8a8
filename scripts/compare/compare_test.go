package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	ordeal "github.com/ordeal-chaos/ordeal"
)

const embeddedReport = `{"backend": "embedded", "scenarios": [
	{"name": "redelivery", "without": [], "verdict": "pass", "anomalies": [], "guarantees": [
		{"name": "log-sound", "verdict": "pass", "examined": 300, "skipped": false},
		{"name": "dead-letters-complete", "verdict": "unknown", "examined": 0, "skipped": true}]}]}`

const removedReport = `{"backend": "embedded", "scenarios": [
	{"name": "redelivery", "without": ["inbox-dedup"], "verdict": "fail", "guarantees": [
		{"name": "effects-at-most-once", "verdict": "fail", "examined": 308, "skipped": false}],
		"anomalies": [{"name": "double-effect"}, {"name": "double-effect"}]}]}`

// folders are two backends that say the same.
func folders(t *testing.T) (a, b string) {
	for i, dir := range []*string{&a, &b} {
		*dir = t.TempDir()
		name := []string{"embedded", "containers"}[i]
		for folder, report := range map[string]string{"sound": embeddedReport, "inbox-dedup": removedReport} {
			write(t, filepath.Join(*dir, folder, "report.json"), strings.ReplaceAll(report, "embedded", name))
		}
	}
	return a, b
}

func write(t *testing.T, path, text string) string {
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

// edit changes a report; what it replaces must be there.
func edit(t *testing.T, dir, folder, from, to string) {
	path := filepath.Join(dir, folder, "report.json")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(data), from)
	write(t, path, strings.Replace(string(data), from, to, 1))
}

// compared runs the comparison with some reasons.
func compared(t *testing.T, a, b, reasons string) (same bool, output string) {
	var w bytes.Buffer
	files := t.TempDir()
	same, err := run(&w, a, b, write(t, filepath.Join(files, "reasons.yaml"), reasons),
		map[string]removal{"inbox-dedup": {predicted: []string{"double-effect", "lost-update"}}})
	require.NoError(t, err)
	return same, w.String()
}

func TestTheSameIsTheSame(t *testing.T) {
	a, b := folders(t)
	same, output := compared(t, a, b, "")
	assert.True(t, same, output)
	assert.Contains(t, output, "2 cells, 0 differences, 0 without a reason")
	assert.Regexp(t, `redelivery +inbox-dedup +double-effect +double-effect +same`, output)
	assert.Regexp(t, `scenario +without +embedded +containers +compared`, output)
}

func TestEveryDifferenceNeedsAReason(t *testing.T) {
	for name, test := range map[string]struct {
		folder, from, to string
		scenario         string
		without          string
		differs, detail  string
	}{
		"another anomaly": {"inbox-dedup", `{"name": "double-effect"}]`, `{"name": "lost-event"}]`,
			"redelivery", "inbox-dedup", "anomaly lost-event", "only containers named it"},
		"nothing examined": {"sound", `"examined": 300`, `"examined": 0`,
			"redelivery", "", "guarantee log-sound", "examined 300 and 0, with 0 and 0 operations acknowledged"},
		"far fewer examined": {"sound", `"examined": 300`, `"examined": 99`,
			"redelivery", "", "guarantee log-sound", "examined 300 and 99, with 0 and 0 operations acknowledged"},
		"a guarantee not judged": {"sound", `"name": "log-sound", "verdict": "pass", "examined": 300`, `"name": "log-sound", "verdict": "unknown", "examined": 300`,
			"redelivery", "", "guarantee log-sound", "pass and unknown"},
		"one more guarantee": {"sound", `"name": "dead-letters-complete"`, `"name": "dead-letters"`,
			"redelivery", "", "guarantee dead-letters", "not judged and skipped"},
		"verdict": {"sound", `"verdict": "pass", "anomalies"`, `"verdict": "fail", "anomalies"`,
			"redelivery", "", "verdict", "pass and fail"},
		"scenario": {"sound", `"redelivery"`, `"other"`,
			"other", "", "scenario", "only containers ran it"},
		"prediction": {"inbox-dedup", `[{"name": "double-effect"}, {"name": "double-effect"}]`, `[]`,
			"*", "inbox-dedup", "predicted double-effect|lost-update", "containers named nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := folders(t)
			edit(t, b, test.folder, test.from, test.to)
			same, output := compared(t, a, b, "")
			assert.False(t, same)
			assert.Contains(t, output, test.differs+": "+test.detail)
			assert.Contains(t, output, "NO REASON")
			if test.differs != "predicted double-effect|lost-update" {
				assert.Contains(t, output, "DIFFERS")
			}
			entry := "- {scenario: '" + test.scenario + "', without: '" + test.without + "', differs: '" + test.differs + "', reason: this is how it must be in a test}\n"
			_, output = compared(t, a, b, entry)
			assert.NotContains(t, output, test.differs+": "+test.detail+": NO REASON")
			assert.Contains(t, output, test.differs+": "+test.detail+": this is how it must be in a test")
		})
	}
}

func TestAReasonMakesADifferenceRight(t *testing.T) {
	a, b := folders(t)
	edit(t, b, "sound", `"examined": 300`, `"examined": 9`)
	reason := func(scenario, without, differs string) string {
		return "- {scenario: '" + scenario + "', without: '" + without + "', differs: '" + differs + "', reason: this is how it must be in a test}\n"
	}
	for entry, want := range map[string]bool{
		reason("redelivery", "", "guarantee log-sound"):            true,
		reason("*", "*", "guarantee log-sound"):                    true,
		reason("other", "", "guarantee log-sound"):                 false,
		reason("redelivery", "inbox-dedup", "guarantee log-sound"): false,
		reason("redelivery", "", "anomaly log-sound"):              false,
	} {
		same, output := compared(t, a, b, entry)
		assert.Equal(t, want, same, entry)
		assert.Equal(t, !want, strings.Contains(output, "a reason that nothing needed"), entry)
		assert.Equal(t, want, strings.Contains(output, "differs with reason (1)"), entry)
	}
}

func TestCountsDifferWhenTheyCannotBeOfTheSameWork(t *testing.T) {
	of := func(examined, acknowledged int) scenario {
		return scenario{Acknowledged: acknowledged, Guarantees: []guarantee{{Name: "g", Examined: examined, Verdict: "pass"}}}
	}
	for counts, differs := range map[[4]int]bool{ // examined, twice, and acknowledged
		{0, 0, 50, 50}: false, {0, 1, 50, 50}: true, {1, 9, 50, 50}: false, {1, 10, 50, 50}: true,
		{100, 300, 50, 50}: false, {100, 301, 50, 50}: true, {301, 100, 50, 50}: true,
		{100, 900, 50, 450}: false, {100, 100, 50, 450}: false, {100, 400, 50, 100}: false, {100, 400, 50, 50}: true,
	} {
		got := differ(of(counts[0], counts[2]), of(counts[1], counts[3]), "g")
		assert.Equal(t, differs, got != "", "%v", counts)
	}
}

func TestUnknownOnBothShowsNothing(t *testing.T) {
	a, b := folders(t)
	for _, dir := range []string{a, b} {
		edit(t, dir, "sound", `"verdict": "pass", "anomalies"`, `"reasons": ["a fault did not bite"], "verdict": "unknown", "anomalies"`)
	}
	same, output := compared(t, a, b, "")
	assert.False(t, same)
	assert.Contains(t, output, "verdict: unknown and unknown (a fault did not bite)")
}

func TestFilesThatCannotBeUnderstood(t *testing.T) {
	a, b := folders(t)
	dir := t.TempDir()
	good, predicted := write(t, filepath.Join(dir, "good"), ""), map[string]removal{"outbox": {predicted: []string{"phantom-event"}}}
	for text, want := range map[string]string{
		"- {scenario: a, differs: verdict, reason: short}":                   "entry 1",
		"- {scenario: a, reason: long enough to be a reason}":                "entry 1",
		"- {scenario: a, differs: verdict, why: long enough to be a reason}": "not found in type",
		"-":                     "entry 1",
		"scenario: not a list ": "read reasons",
	} {
		_, err := run(&bytes.Buffer{}, a, b, write(t, filepath.Join(dir, "bad"), text), predicted)
		assert.ErrorContains(t, err, want, text)
	}
	_, err := run(&bytes.Buffer{}, a, t.TempDir(), good, predicted)
	assert.ErrorContains(t, err, "no report.json")
	edit(t, b, "inbox-dedup", `["inbox-dedup"]`, `["outbox"]`)
	_, err = run(&bytes.Buffer{}, a, b, good, predicted)
	assert.ErrorContains(t, err, `ran without "outbox"`)
}

// The committed files are understood, and a prediction is made for every guard that the comparison knows a reason for.
func TestCommittedFiles(t *testing.T) {
	reasons, err := readReasons("../../testdata/parity.yaml")
	require.NoError(t, err)
	mutants, err := ordeal.ListMutants()
	require.NoError(t, err)
	predicted := removals(mutants)
	for _, r := range reasons {
		if r.Without != "" && r.Without != anyScenario {
			assert.Contains(t, predicted, r.Without)
		}
	}
}

// Each guard is removed once, in every scenario that shows its lack; designs other than sound are left to ordeal mutants.
func TestRemovals(t *testing.T) {
	mutant := func(design, without, scenario, predicts string) ordeal.Mutant {
		return ordeal.Mutant{Design: design, Without: without, Scenario: scenario, Predicts: []string{predicts}}
	}
	all := removals([]ordeal.Mutant{
		mutant("sound", "inbox-dedup", "redelivery", "double-effect"), mutant("sound", "inbox-dedup", "calm", "lost-update"),
		mutant("outbox-cursor", "horizon", "calm", "lost-event"), mutant("sound", "acks-all", "isolated-leader", "lost-ack"), {Unplantable: "no"},
	})
	var w bytes.Buffer
	printCases(&w, all)
	assert.Equal(t, "acks-all 3 isolated-leader\ninbox-dedup 1 calm redelivery\n", w.String())
	assert.Equal(t, []string{"double-effect", "lost-update"}, all["inbox-dedup"].predicted)
}
