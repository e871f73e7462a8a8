package matrix

import (
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/mattn/go-runewidth"
)

// marks of the kinds of cells, with and without colour.
var marks = map[Kind]string{Holds: "✓", Breaks: "✗", Unknown: "?", NotApplicable: "–"}

// differs marks what is not as the literature expects.
const differs = "≠"

// Style is how text is to look. Its zero value is for a file.
type Style struct {
	Columns int // of the terminal; 0 for none
	Colour  bool
}

func (s Style) paint(kind Kind, text string) string {
	code := map[Kind]string{Holds: "32", Breaks: "31", Unknown: "33", NotApplicable: "2"}[kind]
	if !s.Colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// WriteText writes the matrix for people: the table, what broke, the price, and the summary.
func WriteText(w io.Writer, m Matrix, style Style) error {
	var out strings.Builder
	m.writeCells(&out, style)
	m.writeBroken(&out, style)
	m.writePrices(&out)
	if m.Outbox != "" {
		fmt.Fprintf(&out, "\nIs an outbox worth its cost?\n%s\n", m.Outbox)
	}
	fmt.Fprintf(&out, "\n%s\n", m.headline())
	if _, err := io.WriteString(w, out.String()); err != nil {
		return fmt.Errorf("write matrix: %w", err)
	}
	return nil
}

// headline is the end of the text in a line.
func (m Matrix) headline() string {
	if len(m.Scenarios) == 0 {
		return fmt.Sprintf("prices of %s, %s", counted(len(m.Designs), "design"), m.Backend)
	}
	count := map[Kind]int{}
	for _, row := range m.Rows {
		for _, cell := range row.Cells {
			count[cell.Kind]++
		}
	}
	text := fmt.Sprintf("%s × %s, %s each, seed %d, %s; of the cells %d hold, %d break, %d are unknown, %d n/a; %s from what is expected (%s)",
		counted(len(m.Designs), "design"), counted(len(m.Scenarios), "scenario"), counted(m.Repeat, "run"), m.Seed, m.Backend,
		count[Holds], count[Breaks], count[Unknown], count[NotApplicable], counted(m.Differences, "difference"), differs)
	if m.Ran < m.Planned {
		text += fmt.Sprintf("; %d of %s were made: ordeal matrix --resume goes on", m.Ran, counted(m.Planned, "run"))
	}
	return text
}

// symbol is a cell in a few columns: "✗ 2/3≠".
func (m Matrix) symbol(cell Cell) string {
	text := marks[cell.Kind]
	switch {
	case cell.Kind == Breaks:
		text += fmt.Sprintf(" %d/%d", cell.Broke.Runs, cell.Broke.Of)
	case cell.Kind == Holds && m.Repeat > 1:
		text += fmt.Sprintf(" 0/%d", cell.Broke.Of)
	}
	for _, a := range cell.Anomalies {
		if a.Unexpected {
			return text + differs
		}
	}
	return text
}

// writeCells writes the table: under the scenarios' names where the terminal is wide enough, else under their codes.
func (m Matrix) writeCells(out *strings.Builder, style Style) {
	if len(m.Scenarios) == 0 {
		return
	}
	names, codes := []string{"DESIGN"}, []string{"DESIGN"}
	for _, s := range m.Scenarios {
		names, codes = append(names, s.Name), append(codes, s.Code)
	}
	var rows [][]string
	for _, row := range m.Rows {
		line := []string{row.Name}
		for _, cell := range row.Cells {
			line = append(line, m.symbol(cell))
		}
		rows = append(rows, line)
	}
	paint := func(row, column int, text string) string {
		if row < 0 || column == 0 {
			return text
		}
		return style.paint(m.Rows[row].Cells[column-1].Kind, text)
	}
	if wide := table(names, rows, paint); tableWidth(names, rows) <= style.Columns {
		out.WriteString(wide)
		return
	}
	out.WriteString(table(codes, rows, paint))
	out.WriteString("\n")
	for _, s := range m.Scenarios {
		fmt.Fprintf(out, "  %-4s %s\n", s.Code, s.Name)
	}
}

func widths(head []string, rows [][]string) []int {
	w := make([]int, len(head))
	for _, row := range append([][]string{head}, rows...) {
		for i, cell := range row {
			w[i] = max(w[i], runewidth.StringWidth(cell))
		}
	}
	return w
}

func tableWidth(head []string, rows [][]string) int {
	total := 0
	for _, w := range widths(head, rows) {
		total += w + 2
	}
	return total
}

// table lays out rows under a head, which is row -1 to paint.
func table(head []string, rows [][]string, paint func(row, column int, text string) string) string {
	w := widths(head, rows)
	var out strings.Builder
	for n, row := range append([][]string{head}, rows...) {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(paint(n-1, i, cell) + strings.Repeat(" ", w[i]-runewidth.StringWidth(cell)+2))
		}
		out.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return out.String()
}

// writeBroken lists what broke and what is unknown, by design, and how that compares with what was expected.
func (m Matrix) writeBroken(out *strings.Builder, style Style) {
	for _, row := range m.Rows {
		lines := row.findings(style)
		if len(lines) == 0 {
			continue
		}
		fmt.Fprintf(out, "\n%s\n", row.Name)
		for _, line := range lines {
			fmt.Fprintf(out, "  %s\n", line)
		}
	}
}

// findings says of a design what its cells do not.
func (r Row) findings(style Style) []string {
	var lines []string
	for _, cell := range r.Cells {
		switch cell.Kind {
		case Breaks:
			lines = append(lines, fmt.Sprintf("%s %s: %s", style.paint(Breaks, marks[Breaks]), cell.Scenario, list(cell.Anomalies)))
		case Unknown:
			lines = append(lines, fmt.Sprintf("%s %s: %s", style.paint(Unknown, marks[Unknown]), cell.Scenario, strings.Join(cell.Why, "; ")))
		}
	}
	if len(r.Never) > 0 {
		lines = append(lines, fmt.Sprintf("%s expected, and never seen: %s", differs, strings.Join(r.Never, ", ")))
	}
	if r.Expects != "" {
		lines = append(lines, "expected: "+r.Expects)
	}
	if len(r.Broken) > 0 {
		lines = append(lines, fmt.Sprintf("%s held; broken: %s", counted(len(r.Held), "guarantee"), strings.Join(r.Broken, ", ")))
	}
	if r.Price != nil && r.Price.Error != "" {
		lines = append(lines, "price: "+firstLine(r.Price.Error))
	}
	return lines
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// list names anomalies with how often they were seen: "lost-event 3/3 [44–100 %], stuck-order 1/3 [6–79 %] ≠".
func list(anomalies []Named) string {
	var words []string
	for _, a := range anomalies {
		word := fmt.Sprintf("%s %s", a.Name, a.Share)
		if a.Unexpected {
			word += " " + differs
		}
		words = append(words, word)
	}
	return strings.Join(words, ", ")
}

// String is "3/3 [44–100 %]".
func (s Share) String() string {
	return fmt.Sprintf("%d/%d [%.0f–%.0f %%]", s.Runs, s.Of, math.Floor(100*s.Low), math.Ceil(100*s.High))
}

var priceHead = []string{"PRICE", "ORDERS/S", "P50 MS", "P99 MS", "COMMITS", "WAL KB", "RECORDS", "REMARKS"}

// prices are the rows of the table of prices.
func (m Matrix) prices() [][]string {
	var rows [][]string
	for _, row := range m.Rows {
		if row.Price == nil || row.Price.Error != "" {
			continue
		}
		paced, saturated := row.Price.Figures.Paced, row.Price.Figures.Saturated
		rows = append(rows, []string{
			row.Name, fmt.Sprintf("%.0f", saturated.PerSecond),
			fmt.Sprintf("%.1f", paced.P50), fmt.Sprintf("%.1f", paced.P99),
			fmt.Sprintf("%.1f", paced.Commits), fmt.Sprintf("%.1f", paced.WALBytes/1000), fmt.Sprintf("%.1f", paced.Records),
			remarks(row.Price),
		})
	}
	return rows
}

// remarks say what to know of a price beside its figures.
func remarks(p *Priced) string {
	words := left(p)
	if !p.Figures.Disturbed() {
		return words
	}
	if words != "" {
		words += "; "
	}
	return words + fmt.Sprintf("the machine was busy: requests left %.0f ms late at p99", p.Figures.Paced.Late)
}

// left is what a design left open or refused without any fault.
func left(p *Priced) string {
	var words []string
	for _, phase := range []struct {
		name    string
		open    string
		refused int
	}{
		{"paced", p.Figures.Paced.Open, p.Figures.Paced.Refused},
		{"saturated", p.Figures.Saturated.Open, p.Figures.Saturated.Refused},
	} {
		if phase.open != "" {
			words = append(words, phase.name+": "+phase.open)
		}
		if phase.refused > 0 {
			words = append(words, fmt.Sprintf("%s: %s refused", phase.name, counted(phase.refused, "request")))
		}
	}
	return strings.Join(words, "; ")
}

func (m Matrix) writePrices(out *strings.Builder) {
	rows := m.prices()
	if len(rows) == 0 {
		return
	}
	plan := m.Price.WithDefaults()
	out.WriteString("\n" + table(priceHead, rows, func(_, _ int, text string) string { return text }))
	fmt.Fprintf(out, "Without faults, links and taps, alone on the machine. Orders/s: %d clients that never rest. The rest: %.0f orders a second;\n"+
		"request to COMMIT of CONFIRMED; commits, write-ahead log and Kafka records per confirmed order.\n", plan.Clients, plan.Pace)
}
