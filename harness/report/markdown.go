package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/ordeal-chaos/ordeal/harness/check"
)

// A CI server refuses a job summary of more than 1 MiB. What does not fit is left out whole, so that no
// table and no code block is ever cut in the middle.
const markdownLimit = 900 << 10

// Longest texts in a summary, in characters: a cell of a table, and a line of a story.
const (
	cellLimit  = 300
	storyLimit = 500
)

// WriteMarkdown writes a summary of the run for a CI job page: the verdicts, the faults with their
// evidence, what could not be judged, and the worst violation told in full. It is less than 1 MiB.
func WriteMarkdown(w io.Writer, run Run) error {
	run = printable(run)
	summary := &markdown{}
	summary.add(overview(run))
	summary.add(worst(run)...)
	summary.add(violations(run)...)
	summary.add(unknowns(run)...)
	summary.add(faults(run)...)
	if summary.left > 0 {
		summary.text.WriteString("\nMore did not fit here; it is in the HTML report.\n")
	}
	if _, err := io.WriteString(w, summary.text.String()); err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	return nil
}

// markdown collects blocks until the limit.
type markdown struct {
	text strings.Builder
	left int // blocks left out
}

func (m *markdown) add(blocks ...string) {
	for _, block := range blocks {
		if m.left > 0 || m.text.Len()+len(block) > markdownLimit {
			m.left++
			continue
		}
		m.text.WriteString(block)
	}
}

func overview(run Run) string {
	var out strings.Builder
	fmt.Fprintf(&out, "# Ordeal: %s\n\n%s in %s. Seed `%d`, backend %s%s.\n\n",
		run.Verdict, capital(run.headline()), seconds(run.Seconds), run.Seed, cell(run.Backend), cell(versions(run)))
	for _, left := range run.LeftOut {
		fmt.Fprintf(&out, "%s: %s.\n\n", cell(left.String()), strings.Join(each(left.Scenarios, cell), ", "))
	}
	for _, note := range run.Notes {
		fmt.Fprintf(&out, "%s.\n\n", cell(capital(note)))
	}
	if len(run.Scenarios) == 0 {
		return out.String()
	}
	out.WriteString("| Verdict | Scenario | Design | Guarantees kept | Faults that bit | Acknowledged | Time |\n")
	out.WriteString("|---|---|---|--:|--:|--:|--:|\n")
	for _, s := range run.Scenarios {
		kept, judged := s.tally()
		fmt.Fprintf(&out, "| %s | %s | %s | %d of %d | %d of %d | %d of %d | %s |\n",
			s.outcome(), cell(s.Name), cell(s.design()), kept, judged, s.bitten(), len(s.Faults),
			s.Acknowledged, s.Operations, seconds(s.Seconds))
	}
	return out.String()
}

// worst tells one violation in full: of the scenario that broke the most guarantees, the first that has
// a story.
func worst(run Run) []string {
	var scenario *Scenario
	most := 0
	for i, s := range run.Scenarios {
		broken := 0
		for _, g := range s.Guarantees {
			if g.Verdict == check.Fail {
				broken++
			}
		}
		if len(s.Anomalies) > 0 && (scenario == nil || broken > most) {
			scenario, most = &run.Scenarios[i], broken
		}
	}
	if scenario == nil {
		return nil
	}
	told := max(0, slices.IndexFunc(scenario.Anomalies, func(a Anomaly) bool { return len(a.Story) > 0 }))
	anomaly := scenario.Anomalies[told]
	return []string{
		fmt.Sprintf("\n## Worst violation: %s in %s\n\n%s", cell(anomaly.Name), cell(scenario.title()),
			fence(anomaly.lines(scenario.guarantee(anomaly.Guarantee)))),
		repeatBlock(scenario.Repeat),
	}
}

func violations(run Run) []string {
	var blocks []string
	for _, s := range run.Scenarios {
		if len(s.Anomalies) == 0 {
			continue
		}
		var out strings.Builder
		fmt.Fprintf(&out, "\n### %s\n\n| Anomaly | Guarantee | Order or SKU | What was seen |\n|---|---|---|---|\n", cell(s.title()))
		for _, group := range byName(s.Anomalies) {
			for _, a := range group.told {
				fmt.Fprintf(&out, "| %s | %s | %s | %s |\n",
					cell(a.Name), cell(s.guarantee(a.Guarantee).label()), cell(a.Subject), cell(a.Detail))
			}
			if len(group.rest) > 0 {
				fmt.Fprintf(&out, "| … | | | %s |\n", cell(group.more()))
			}
		}
		blocks = append(blocks, out.String(), repeatBlock(s.Repeat))
	}
	return under("\n## Violations\n", blocks)
}

func unknowns(run Run) []string {
	var blocks []string
	for _, s := range run.Scenarios {
		var lines []string
		if s.Error != "" {
			lines = append(lines, s.failure()+":")
			lines = append(lines, strings.Split(s.Error, "\n")...)
		}
		for _, reason := range s.unknowns() {
			lines = append(lines, strings.Split(reason, "\n")...)
		}
		if len(lines) > 0 {
			blocks = append(blocks, fmt.Sprintf("\n### %s\n\n%s", cell(s.title()), fence(lines)), repeatBlock(s.Repeat))
		}
	}
	return under("\n## Could not be judged\n", blocks)
}

func faults(run Run) []string {
	var blocks []string
	for _, s := range run.Scenarios {
		for _, f := range s.Faults {
			bit := "yes"
			if !f.Bit {
				bit = "**no**"
			}
			blocks = append(blocks, fmt.Sprintf("| %s | %s | %s | %s | %s |\n",
				cell(s.Name), cell(f.label()), cell(f.window()), bit, cell(f.Evidence)))
		}
	}
	return under("\n## Faults\n\n| Scenario | Fault | Injected – healed | Bit | Evidence |\n|---|---|---|---|---|\n", blocks)
}

// under puts a heading above the first block, so that the two are kept or left out together.
func under(heading string, blocks []string) []string {
	if len(blocks) > 0 {
		blocks[0] = heading + blocks[0]
	}
	return blocks
}

// escaped are the characters that mean something to some Markdown, in the middle of a line too.
var escaped = strings.NewReplacer(
	"&", "&amp;", "<", "&lt;", ">", "&gt;", `\`, `\\`, "|", `\|`, "`", "\\`", "*", `\*`, "_", `\_`,
	"[", `\[`, "]", `\]`, "#", `\#`, "~", `\~`, "!", `\!`, "$", `\$`, "@", "&#64;", "://", "&#58;//",
)

// cell makes a hostile string the text of a table cell: one line, and no markup, link or mention.
func cell(s string) string { return escaped.Replace(shorten(s, cellLimit)) }

// fence shows lines as they are. Its marks are longer than any run of backticks in the text.
func fence(lines []string) string {
	marks := "```"
	for i, line := range lines {
		lines[i] = shorten(line, storyLimit)
		for strings.Contains(lines[i], marks) {
			marks += "`"
		}
	}
	if len(lines) > 400 {
		lines = append(lines[:400:400], fmt.Sprintf("… %d more lines", len(lines)-400))
	}
	return marks + "text\n" + strings.Join(lines, "\n") + "\n" + marks + "\n"
}

func repeatBlock(command string) string {
	if command == "" {
		return ""
	}
	return "\nRepeat:\n\n" + fence([]string{command})
}

// versions lists what ran: " (broker kfake 1.2, postgres 17.5)".
func versions(run Run) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(run.Versions)) {
		parts = append(parts, name+" "+run.Versions[name])
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
