package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	ordeal "github.com/ordeal-chaos/ordeal"
	"github.com/ordeal-chaos/ordeal/harness"
)

// mutantsSummary is what a campaign found, as mutants.json has it.
type mutantsSummary struct {
	Seed        uint64                `json:"seed"`
	Repeats     int                   `json:"repeats"`
	Parallel    int                   `json:"parallel"`
	Backend     string                `json:"backend"`
	Class       string                `json:"class"` // of the baseline
	Versions    map[string]string     `json:"versions"`
	Started     time.Time             `json:"started"`
	Seconds     float64               `json:"seconds"`
	Interrupted bool                  `json:"interrupted"`
	Broken      bool                  `json:"harness_error"` // a run could not be carried out
	Bugs        int                   `json:"bugs"`          // by number, of those chosen
	Killed      int                   `json:"killed"`        // by number: every mutant of the bug that ran was
	Mutants     []mutantSummary       `json:"mutants"`
	Changes     []ordeal.MutantChange `json:"changes"` // against the baseline
	Updated     string                `json:"updated_baseline,omitempty"`
}

// mutantSummary is one mutant of it.
type mutantSummary struct {
	ordeal.Mutant
	Verdict    ordeal.MutantVerdict `json:"verdict"`
	Detail     string               `json:"detail"`
	Killed     int                  `json:"times_killed"`
	Repeats    int                  `json:"repeats"`
	Seconds    float64              `json:"detected_seconds"`    // median of the repeats that killed it, from the start of the run
	Slowest    float64              `json:"slowest_seconds"`     // of these
	SinceFault float64              `json:"since_fault_seconds"` // median, from the first fault; -1 without one
	Trials     []trialSummary       `json:"trials"`
}

// trialSummary is one repeat of a mutant.
type trialSummary struct {
	Seed       uint64               `json:"seed"`
	Verdict    ordeal.MutantVerdict `json:"verdict"` // "" when it was interrupted
	Detail     string               `json:"detail"`
	Anomalies  []string             `json:"anomalies"`
	Reached    bool                 `json:"reached"`
	Seconds    float64              `json:"detected_seconds"`
	SinceFault float64              `json:"since_fault_seconds"`
	Planted    runSummary           `json:"planted"`
	Sound      runSummary           `json:"sound"`
}

// runSummary is one of the two runs of a repeat.
type runSummary struct {
	Verdict string  `json:"verdict"`
	Seconds float64 `json:"seconds"`
	Repeat  string  `json:"repeat"`           // the command that runs it again
	Folder  string  `json:"folder,omitempty"` // in the report's folder; "" when it was not kept
}

// summarize sums up what was run, and compares it with the baseline.
func (c *campaign) summarize(baseline ordeal.MutantBaseline) mutantsSummary {
	s := mutantsSummary{
		Seed: c.flags.seed, Repeats: c.flags.repeat, Parallel: c.flags.parallel, Backend: c.backend.Name(), Broken: c.broken,
		Class: ordeal.BackendClass(c.backend.Name(), c.flags.brokers), Versions: c.versions,
	}
	for _, e := range c.entries {
		s.Mutants = append(s.Mutants, e.summarize())
	}
	s.Bugs, s.Killed = countBugs(s.Mutants)
	s.Changes = baseline.Changes(s.Class, s.verdicts())
	return s
}

// verdicts are those that were given, by id.
func (s mutantsSummary) verdicts() map[string]ordeal.MutantVerdict {
	verdicts := map[string]ordeal.MutantVerdict{}
	for _, m := range s.Mutants {
		if m.Verdict != "" {
			verdicts[m.ID] = m.Verdict
		}
	}
	return verdicts
}

// countBugs counts by the number of the bug: it is killed if every mutant of it that ran was.
func countBugs(mutants []mutantSummary) (bugs, killed int) {
	alive := map[string]bool{}
	for _, m := range mutants {
		number := m.Number()
		if _, known := alive[number]; !known {
			alive[number] = true
			bugs++
			others := slices.DeleteFunc(slices.Clone(mutants), func(o mutantSummary) bool {
				return o.Number() != number || o.Verdict == ordeal.LeftOut
			})
			if len(others) > 0 && !slices.ContainsFunc(others, func(o mutantSummary) bool { return o.Verdict != ordeal.Killed }) {
				killed++
			}
		}
	}
	return bugs, killed
}

func (e *entry) summarize() mutantSummary {
	m := mutantSummary{Mutant: e.Mutant, SinceFault: -1, Trials: []trialSummary{}}
	switch {
	case e.Unplantable != "":
		m.Verdict, m.Detail = ordeal.Unplantable, e.Unplantable
		return m
	case e.leftOut:
		m.Verdict, m.Detail = ordeal.LeftOut, "it needs "+threeBrokers
		return m
	}
	var verdicts []ordeal.MutantVerdict
	var seconds, since []float64
	for _, t := range e.trials {
		m.Trials = append(m.Trials, t.summarize())
		if t.verdict == "" {
			continue
		}
		verdicts = append(verdicts, t.verdict)
		if t.verdict == ordeal.Killed {
			seconds = append(seconds, t.planted.seen.Seconds)
			since = append(since, t.planted.seen.SinceFault)
		}
	}
	m.Repeats = len(verdicts)
	if m.Repeats == 0 {
		return m // interrupted
	}
	m.Verdict, m.Killed = ordeal.SumUp(verdicts)
	for _, t := range e.trials {
		if t.verdict == m.Verdict {
			m.Detail = t.detail
			break
		}
	}
	if len(seconds) > 0 {
		m.Seconds, m.Slowest, m.SinceFault = median(seconds), slices.Max(seconds), median(since)
	}
	return m
}

func (t *trial) summarize() trialSummary {
	run := func(x *experiment) runSummary {
		r := runSummary{Repeat: x.repeat}
		if x.done {
			r.Verdict, r.Seconds = x.seen.Verdict.String(), x.seen.Seconds
		}
		if x.done && x.wanted {
			r.Folder = x.folder()
		}
		return r
	}
	seen := t.planted.seen
	return trialSummary{
		Seed: t.seed, Verdict: t.verdict, Detail: t.detail, Anomalies: append([]string{}, seen.Anomalies...), Reached: seen.Reached,
		Seconds: seen.Seconds, SinceFault: seen.SinceFault, Planted: run(t.planted), Sound: run(t.sound),
	}
}

func median(of []float64) float64 {
	sorted := slices.Sorted(slices.Values(of))
	middle := len(sorted) / 2
	if len(sorted)%2 == 0 {
		return (sorted[middle-1] + sorted[middle]) / 2
	}
	return sorted[middle]
}

// exit is the exit code of a campaign, as an error.
func (s mutantsSummary) exit() error {
	some := func(match func(ordeal.MutantChange) bool) bool { return slices.ContainsFunc(s.Changes, match) }
	switch {
	case s.Interrupted:
		return exit(exitInterrupted)
	case s.Updated == "" && some(func(c ordeal.MutantChange) bool { return c.Worse }):
		return exit(exitFail)
	case s.Broken:
		return exit(exitHarness)
	case some(func(c ordeal.MutantChange) bool { return c.Unknown }):
		return exit(exitUnknown)
	}
	return nil
}

// Files of a campaign's report.
const (
	mutantsJSON     = "mutants.json"
	mutantsMarkdown = "mutants.md"
)

// write writes the report files into dir.
func (s mutantsSummary) write(dir string) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", mutantsJSON, err)
	}
	return errors.Join(
		replaceFile(filepath.Join(dir, mutantsJSON), append(data, '\n')),
		replaceFile(filepath.Join(dir, mutantsMarkdown), []byte(s.markdown())),
	)
}

// replaceFile writes a file beside path and then renames it, so that path is never half written.
func replaceFile(path string, data []byte) error {
	part := path + ".part"
	err := os.WriteFile(part, data, 0o644)
	if err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, errors.Join(err, os.RemoveAll(part)))
	}
	return nil
}

// updateBaseline writes the verdicts into the baseline; those of other mutants and other backends stay.
func (s *mutantsSummary) updateBaseline(baseline ordeal.MutantBaseline, file string) error {
	if file == "" {
		file = ordeal.MutantBaselineFile
		if _, err := os.Stat(filepath.Dir(file)); err != nil {
			return fmt.Errorf("%w: --update-baseline: there is no folder of %s here: name a file with --baseline, or run it from the root of the repository", harness.ErrUsage, file)
		}
	}
	for id, verdict := range s.verdicts() {
		if verdict == ordeal.NotKnown {
			continue // nothing was found out
		}
		if baseline[id] == nil {
			baseline[id] = map[string]ordeal.MutantVerdict{}
		}
		baseline[id][s.Class] = verdict
	}
	s.Updated = file
	return replaceFile(file, baseline.Bytes())
}

// tally counts the verdicts besides KILLED, with the ids: "1 SURVIVED (B7)".
func (s mutantsSummary) tally() string {
	var parts []string
	for _, verdict := range append(slices.Clone(ordeal.MutantVerdicts), "") {
		var ids []string
		for _, m := range s.Mutants {
			if m.Verdict == verdict && verdict != ordeal.Killed {
				ids = append(ids, m.ID)
			}
		}
		word := string(verdict)
		if verdict == "" {
			word = "interrupted"
		}
		if len(ids) > 0 {
			parts = append(parts, fmt.Sprintf("%d %s (%s)", len(ids), word, strings.Join(ids, ", ")))
		}
	}
	return strings.Join(parts, ", ")
}

// slowest says which kill took longest.
func (s mutantsSummary) slowest() string {
	var most mutantSummary
	for _, m := range s.Mutants {
		if m.Slowest > most.Slowest {
			most = m
		}
	}
	if most.ID == "" {
		return ""
	}
	text := fmt.Sprintf("the slowest in %.1f s (%s)", most.Slowest, most.ID)
	if most.Slowest > soon {
		text += fmt.Sprintf(", more than %d s", soon)
	}
	return text
}

// soon is how many seconds a bug may take to be found.
const soon = 30

// headline is the campaign in one sentence.
func (s mutantsSummary) headline() string {
	text := fmt.Sprintf("%d of %d bugs KILLED", s.Killed, s.Bugs)
	for _, part := range []string{s.slowest(), s.tally()} {
		if part != "" {
			text += ", " + part
		}
	}
	if s.Interrupted {
		text += "; interrupted before the end"
	}
	return text
}
