package report

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/mattn/go-runewidth"

	"github.com/ordeal-chaos/ordeal/harness/check"
)

// WriteTerminal writes the end of a run: the result table, then for everything that is not a pass the
// story of [Tell], then the verdict in one line. It is coloured if colour says so, see [Colour].
func WriteTerminal(w io.Writer, run Run, colour bool) error {
	run, paint := printable(run), painter(colour)
	var out strings.Builder
	if len(run.Scenarios) > 0 {
		out.WriteString(resultTable(run, paint) + "\n")
	}
	for _, s := range run.Scenarios {
		if story := tell(s, paint); story != "" {
			out.WriteString(story + "\n")
		}
	}
	fmt.Fprintf(&out, "%s  %s, in %s, seed %d, %s\n",
		paint.bold(paint.verdict(run.Verdict, strings.ToUpper(run.Verdict.String()))),
		run.headline(), seconds(run.Seconds), run.Seed, run.Backend)
	for _, remark := range run.remarks() {
		fmt.Fprintf(&out, "%s\n", paint.yellow(remark))
	}
	if run.Verdict != check.Pass && run.Repeat != "" && len(run.Scenarios) != 1 {
		fmt.Fprintf(&out, "%s %s\n", paint.dim("repeat all:"), run.Repeat)
	}
	if _, err := io.WriteString(w, out.String()); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	return nil
}

func resultTable(run Run, paint painter) string {
	rows := [][]string{{"", "SCENARIO", "DESIGN", "GUARANTEES", "FAULTS BIT", "ACKNOWLEDGED", "TIME"}}
	for _, s := range run.Scenarios {
		kept, judged := s.tally()
		rows = append(rows, []string{
			s.outcome(), s.Name, s.design(),
			fmt.Sprintf("%d/%d", kept, judged), fmt.Sprintf("%d/%d", s.bitten(), len(s.Faults)),
			fmt.Sprintf("%d/%d", s.Acknowledged, s.Operations), strconv.FormatFloat(s.Seconds, 'f', 1, 64) + " s",
		})
	}
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], runewidth.StringWidth(cell))
		}
	}
	var out strings.Builder
	for n, row := range rows {
		for i, cell := range row {
			switch {
			case i > 2: // figures end at the same column
				cell = runewidth.FillLeft(cell, widths[i])
			case i < len(row)-1:
				cell = runewidth.FillRight(cell, widths[i])
			}
			switch {
			case n == 0:
				cell = paint.dim(cell)
			case i == 0:
				cell = paint.verdict(run.Scenarios[n-1].Verdict, cell)
			}
			if i > 0 {
				out.WriteString("  ")
			}
			out.WriteString(cell)
		}
		out.WriteString("\n")
	}
	return out.String()
}

// outcome is the verdict with its mark, as tables show it.
func (s Scenario) outcome() string {
	switch {
	case s.Error != "":
		return "! error"
	case s.Verdict == check.Pass:
		return "✓ pass"
	case s.Verdict == check.Fail:
		return "✗ fail"
	default:
		return "? unknown"
	}
}
