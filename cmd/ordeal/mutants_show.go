package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"

	ordeal "github.com/ordeal-chaos/ordeal"
	"github.com/ordeal-chaos/ordeal/harness/report"
)

// row is a mutant as tables show it.
func (m mutantSummary) row() []string {
	rate, detected, since := "-", "-", "-"
	if m.Repeats > 0 {
		rate = fmt.Sprintf("%d/%d", m.Killed, m.Repeats)
	}
	if m.Killed > 0 {
		detected = fmt.Sprintf("%.1f s", m.Seconds)
		if m.Repeats > 1 {
			detected += fmt.Sprintf(" (≤ %.1f)", m.Slowest)
		}
		if m.SinceFault >= 0 {
			since = fmt.Sprintf("%.1f s", m.SinceFault)
		}
	}
	verdict := string(m.Verdict)
	if verdict == "" {
		verdict = "interrupted"
	}
	return []string{m.ID, verdict, rate, detected, since, dash(m.Design), dash(m.planted()), dash(m.Scenario), m.Detail}
}

var mutantColumns = []string{"ID", "VERDICT", "KILLED", "DETECTED", "SINCE FAULT", "DESIGN", "WITHOUT", "SCENARIO", "NAMED, OR WHY NOT"}

// planted says what is planted: the guard removed, or the design that has none of the bug.
func (m mutantSummary) planted() string {
	if m.Restored != "" {
		return "(" + m.Restored + " has no bug)"
	}
	return m.Without
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// show prints the end of a campaign.
func (s mutantsSummary) show(w io.Writer, flags mutantFlags) error {
	if flags.json {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(s)
	}
	_, err := io.WriteString(w, s.terminal(flags.out, report.Colour(os.Stdout))+"\nreport: "+filepath.Join(flags.out, mutantsMarkdown)+"\n")
	return err
}

// terminal is the table, what to look at of each mutant that was not killed, and what it comes to.
func (s mutantsSummary) terminal(dir string, colour bool) string {
	rows := [][]string{mutantColumns}
	for _, m := range s.Mutants {
		rows = append(rows, m.row())
	}
	var out strings.Builder
	out.WriteString(aligned(rows, func(verdict, text string) string { return coloured(colour, ordeal.MutantVerdict(verdict), text) }))
	for _, m := range s.Mutants {
		for _, t := range m.suspicious() {
			fmt.Fprintf(&out, "\n%s with seed %d: %s: %s\n", m.ID, t.Seed, t.Verdict, t.Detail)
			for _, run := range t.telling() {
				fmt.Fprintf(&out, "  repeat: %s\n", run.Repeat)
				if run.Folder != "" {
					fmt.Fprintf(&out, "  history: %s\n", filepath.Join(dir, run.Folder, historyFile))
				}
			}
		}
	}
	fmt.Fprintf(&out, "\n%s, in %s, seed %d, %s\n", s.headline(), time.Duration(s.Seconds*float64(time.Second)).Round(time.Second), s.Seed, s.Class)
	for _, line := range s.compared() {
		out.WriteString(line + "\n")
	}
	return out.String()
}

// suspicious are the repeats that ran and did not kill.
func (m mutantSummary) suspicious() []trialSummary {
	return slices.DeleteFunc(slices.Clone(m.Trials), func(t trialSummary) bool { return t.Verdict == ordeal.Killed || t.Verdict == "" })
}

// telling are the runs that the verdict rests on.
func (t trialSummary) telling() []runSummary {
	switch t.Verdict {
	case ordeal.FalseAlarm:
		return []runSummary{t.Sound}
	case ordeal.NotKnown:
		return []runSummary{t.Planted, t.Sound}
	}
	return []runSummary{t.Planted}
}

// compared says how this differs from the baseline.
func (s mutantsSummary) compared() []string {
	switch {
	case s.Updated != "":
		return []string{"baseline written: " + s.Updated}
	case s.Interrupted:
		return nil
	case len(s.Changes) == 0:
		return []string{"as in the baseline"}
	}
	var lines []string
	for _, c := range s.Changes {
		switch {
		case c.Worse:
			lines = append(lines, "worse: "+c.String())
		case c.Unknown:
			lines = append(lines, "not known: "+c.String())
		default:
			lines = append(lines, "changed: "+c.String()+" (--update-baseline)")
		}
	}
	return lines
}

// aligned sets rows in columns; paint gets the verdict and the text of the verdict's cell.
func aligned(rows [][]string, paint func(verdict, text string) string) string {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], runewidth.StringWidth(cell))
		}
	}
	var out strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			text := runewidth.FillRight(cell, widths[i])
			if i == 1 {
				text = paint(cell, text)
			}
			line.WriteString(text + "  ")
		}
		out.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return out.String()
}

// coloured gives a verdict its colour. A word goes with every colour, for those who cannot tell them apart.
func coloured(colour bool, verdict ordeal.MutantVerdict, text string) string {
	code := "31" // red
	switch verdict {
	case ordeal.Killed:
		code = "32" // green
	case ordeal.NotKnown, ordeal.Unplantable, ordeal.LeftOut:
		code = "33" // yellow
	}
	if !colour || !slices.Contains(ordeal.MutantVerdicts, verdict) {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// cells keep text from being markup in a table.
var cells = strings.NewReplacer("|", `\|`, "<", "&lt;", ">", "&gt;", "\n", " ", "*", `\*`, "_", `\_`)

// markdown is the table for people who read it later.
func (s mutantsSummary) markdown() string {
	var out strings.Builder
	fmt.Fprintf(&out, "# Planted bugs\n\n%s.\n\n", cells.Replace(s.headline()))
	var versions []string
	for _, name := range slices.Sorted(maps.Keys(s.Versions)) {
		if !strings.Contains(s.Versions[name], "/") { // a place on this machine tells readers nothing
			versions = append(versions, name+" "+s.Versions[name])
		}
	}
	fmt.Fprintf(&out, "Each bug ran %s, with seeds from %d, %d runs at a time, on %s (%s), in %s. KILLED: a predicted anomaly was named with the bug, "+
		"and without it the same scenario, schedule and seed were clean. Times are from the start of the run, and from its first fault, until it was "+
		"judged: the median of the repeats that killed, and the slowest.\n\n",
		times(s.Repeats), s.Seed, s.Parallel, s.Class, cells.Replace(strings.Join(versions, ", ")),
		time.Duration(s.Seconds*float64(time.Second)).Round(time.Second))
	out.WriteString("| Bug | What it is | Source | Design | Without | Scenario | Predicted | Verdict | Killed | Detected | Since fault | Named, or why not |\n")
	out.WriteString("|---|---|---|---|---|---|---|---|--:|--:|--:|---|\n")
	for _, m := range s.Mutants {
		row := m.row()
		line := []string{
			m.ID, m.Bug, m.Source, row[5], row[6], row[7], dash(strings.Join(m.Predicts, ", ")), row[1], row[2], row[3], row[4], m.Detail,
		}
		for i := range line {
			line[i] = cells.Replace(line[i])
		}
		fmt.Fprintf(&out, "| %s |\n", strings.Join(line, " | "))
	}
	if lines := s.compared(); len(lines) > 0 {
		out.WriteString("\n## Against the baseline\n\n")
		for _, line := range lines {
			fmt.Fprintf(&out, "- %s\n", cells.Replace(line))
		}
	}
	var repeats strings.Builder
	for _, m := range s.Mutants {
		for _, t := range m.suspicious() {
			fmt.Fprintf(&repeats, "\n%s with seed %d, %s: %s\n\n", m.ID, t.Seed, t.Verdict, cells.Replace(t.Detail))
			for _, run := range t.telling() {
				fmt.Fprintf(&repeats, "    %s\n", run.Repeat)
			}
		}
	}
	if repeats.Len() > 0 {
		out.WriteString("\n## Repeats that did not kill\n" + repeats.String())
	}
	return out.String()
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
