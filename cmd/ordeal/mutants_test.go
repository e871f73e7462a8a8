package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	ordeal "github.com/ordeal-chaos/ordeal"
	"github.com/ordeal-chaos/ordeal/harness/check"
)

// Entries of a table: a bug that is found, one whose code its scenario never comes to, and one that takes three brokers.
const (
	killable = `- id: B11
  bug: A record that is delivered again takes effect again.
  source: a test
  design: sound
  without: inbox-dedup
  scenario: redelivery
  predicts: [double-effect]
`
	stale = `- id: B1
  bug: No record fails where there is no fault, so that nobody misses the dead letters.
  source: a test
  design: sound
  without: dead-letter
  scenario: calm
  predicts: [stuck-partition]
`
	leftOut = `- id: B38b
  bug: A record is acknowledged before other brokers have it, and its leader is lost.
  source: a test
  design: sound
  without: acks-all
  scenario: isolated-leader
  predicts: [lost-ack]
- id: B38
  bug: Somebody has to say so.
  source: a test
  unplantable: this is only a test
`
)

// write writes a file of the site, where the command runs.
func (s site) write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(filepath.Dir(s.tmp), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

func decodeMutants(t *testing.T, text string) mutantsSummary {
	t.Helper()
	var summary mutantsSummary
	require.NoError(t, json.Unmarshal([]byte(text), &summary), text)
	return summary
}

// One bug is found, one is not planted where it could be found, and one cannot run here. All that is kept is what to look at.
func TestMutants(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.write(t, "table", killable+stale+leftOut)
	s.write(t, "baseline", "B11: {embedded: KILLED}\nB1: {embedded: KILLED}\n")
	run := s.run(t, "mutants", "--table", "table", "--baseline", "baseline", "--out", s.out, "--seed", seed())
	run.requireCode(t, exitFail)
	for _, want := range []string{
		`(?m)^B11 +KILLED +1/1 +\d+\.\d s +\d+\.\d s +sound +inbox-dedup +redelivery +double-effect$`,
		`(?m)^B1 +STALE +0/1 +- +- +sound +dead-letter +calm +no service came to where dead-letter would have acted$`,
		`(?m)^B38b +LEFT OUT .*it needs --backend containers --brokers 3$`, `(?m)^B38 +UNPLANTABLE .*this is only a test$`,
		`(?m)^B1 with seed \d+: STALE: .*\n  repeat: \S*ordeal run calm --without dead-letter --seed \d+\n  history: ` + filepath.Join(s.out, "runs/B1/calm", historyFile) + `$`,
		`(?m)^1 of 3 bugs KILLED, the slowest in \d+\.\d s \(B11\)(, more than 30 s)?, 1 STALE \(B1\), 1 UNPLANTABLE \(B38\), 1 LEFT OUT \(B38b\), in `,
		`(?m)^worse: B1 is STALE; in the baseline it is KILLED$`,
	} {
		require.Regexp(t, want, run.stdout.String())
	}
	require.Regexp(t, `(?m)^\S+ B11 redelivery is KILLED: double-effect$`, run.stderr.String(), "as soon as it is known")
	require.Regexp(t, `(?m)^\S+ sound redelivery: pass in `, run.stderr.String())

	var kept []string
	require.NoError(t, filepath.WalkDir(filepath.Join(s.out, runsFolder), func(path string, _ os.DirEntry, err error) error {
		if filepath.Base(path) == historyFile {
			name, _ := filepath.Rel(s.out, filepath.Dir(path))
			kept = append(kept, name)
		}
		return err
	}))
	require.Equal(t, []string{"runs/B1/calm", "runs/sound/calm"}, kept, "what was killed need not be looked at")
	require.NoDirExists(t, filepath.Join(s.out, "runs/B11"))

	data, err := os.ReadFile(filepath.Join(s.out, mutantsJSON))
	require.NoError(t, err)
	summary := decodeMutants(t, string(data))
	require.Equal(t, []int{1, 3}, []int{summary.Killed, summary.Bugs})
	killed := summary.Mutants[0]
	require.Equal(t, ordeal.Killed, killed.Verdict)
	require.Positive(t, killed.Seconds)
	require.Positive(t, killed.SinceFault)
	require.Greater(t, killed.Seconds, killed.SinceFault)
	require.True(t, killed.Trials[0].Reached)
	require.Equal(t, []string{"fail", "pass"}, []string{killed.Trials[0].Planted.Verdict, killed.Trials[0].Sound.Verdict})
	page, err := os.ReadFile(filepath.Join(s.out, mutantsMarkdown))
	require.NoError(t, err)
	require.Contains(t, string(page), "| B11 | A record that is delivered again takes effect again. | a test | sound | inbox-dedup |")
}

// With repeats each has a seed of its own, runs without a bug are shared, and the baseline is written when that is asked for.
func TestMutantsRepeated(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.write(t, "table", killable+strings.Replace(killable, "B11", "B11b", 1))
	run := s.run(t, "mutants", "B11", "--table", "table", "--baseline", "new", "--update-baseline", "--repeat", "2", "--keep-all",
		"--json", "--out", s.out, "--seed", "7")
	run.requireCode(t, exitPass)
	summary := decodeMutants(t, run.stdout.String())
	require.Equal(t, []int{1, 1}, []int{summary.Killed, summary.Bugs}, "two mutants of one bug")
	for _, m := range summary.Mutants {
		require.Equal(t, []int{2, 2}, []int{m.Killed, m.Repeats})
		require.Equal(t, []uint64{7, 8}, []uint64{m.Trials[0].Seed, m.Trials[1].Seed})
		require.Equal(t, "runs/sound/seed-8/redelivery", m.Trials[1].Sound.Folder)
		require.FileExists(t, filepath.Join(s.out, m.Trials[1].Planted.Folder, historyFile))
		view, _, err := check.JudgeFile(filepath.Join(s.out, m.Trials[1].Planted.Folder, historyFile), nil)
		require.NoError(t, err)
		require.Equal(t, uint64(8), view.Header.Seed)
		require.Equal(t, "redelivery", view.Header.Scenario, "what its schedule depends on")
	}
	written, err := os.ReadFile(filepath.Join(filepath.Dir(s.tmp), "new"))
	require.NoError(t, err)
	require.Contains(t, string(written), "B11: {embedded: KILLED}\nB11b: {embedded: KILLED}\n")
	again := s.run(t, "mutants", "B11b", "--table", "table", "--baseline", "new", "--out", s.out)
	again.requireCode(t, exitPass)
	require.Regexp(t, `(?m)^as in the baseline$`, again.stdout.String())
}

func TestInterruptedMutants(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.write(t, "table", killable+stale)
	run := s.start(t, "mutants", "--table", "table", "--parallel", "1", "--out", s.out)
	run.await(t, "B11 redelivery: started")
	run.interrupt(t)
	run.requireEnd(t, 5*time.Second)
	s.requireNothingLeft(t, 0)
	run.requireCode(t, exitInterrupted)
	require.Contains(t, run.stdout.String(), "2 interrupted (B11, B1); interrupted before the end")
	require.NotContains(t, run.stdout.String(), "worse:")
	require.FileExists(t, filepath.Join(s.out, mutantsJSON))
}

// An exit code for each way in which a campaign can end.
func TestMutantsExit(t *testing.T) {
	changed := func(c ordeal.MutantChange) mutantsSummary {
		return mutantsSummary{Changes: []ordeal.MutantChange{{ID: "B2", Is: ordeal.Killed}, c}}
	}
	worse, unknown := ordeal.MutantChange{ID: "B1", Worse: true}, ordeal.MutantChange{ID: "B1", Unknown: true}
	both := changed(worse)
	both.Changes = append(both.Changes, unknown)
	broken, interrupted, updated := changed(unknown), changed(worse), changed(worse)
	broken.Broken, interrupted.Interrupted, updated.Updated = true, true, "file"
	for name, test := range map[string]struct {
		summary mutantsSummary
		want    int
	}{
		"as it was":   {mutantsSummary{}, exitPass},
		"better":      {changed(ordeal.MutantChange{ID: "B1"}), exitPass},
		"worse":       {changed(worse), exitFail},
		"unknown":     {changed(unknown), exitUnknown},
		"both":        {both, exitFail},
		"harness":     {broken, exitHarness},
		"interrupted": {interrupted, exitInterrupted},
		"updated":     {updated, exitPass},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, test.want, code(test.summary.exit())) })
	}
}

// Completions offer what the design has.
func TestCompletions(t *testing.T) {
	names := func(offers []cobra.Completion, _ cobra.ShellCompDirective) string { return strings.Join(offers, "\n") }
	run := runCommand()
	require.NoError(t, run.Flags().Set("design", "outbox-cursor"))
	guards := names(completeGuards(run, nil, "inbox-dedup,"))
	require.Contains(t, guards, "inbox-dedup,horizon\t")
	require.NotContains(t, guards, "inbox-dedup,outbox\t")
	require.NotContains(t, guards, "inbox-dedup,inbox-dedup")
	designs := names(completeDesigns(run, nil, ""))
	require.Contains(t, designs, "timeout-compensation-sweeper\t")
	require.Contains(t, designs, "no-payment\t")
	require.Equal(t, 1, strings.Count(designs, "outbox-cursor\t"), "a design of the same name as its part")
	parts := names(completeDesigns(run, nil, "outbox-cursor+"))
	require.Contains(t, parts, "outbox-cursor+payment\t")
	require.NotContains(t, parts, "outbox-notify")
	require.NotContains(t, parts, "timeout-compensation-sweeper")
	mutants := names(completeMutants(nil, []string{"B1"}, ""))
	require.Contains(t, mutants, "B11\t")
	require.NotContains(t, mutants, "B1\t")
}
