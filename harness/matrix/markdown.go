package matrix

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// WriteMarkdown writes the matrix as a page.
func WriteMarkdown(w io.Writer, m Matrix) error {
	var out strings.Builder
	fmt.Fprintf(&out, "# Designs and scenarios\n\n%s.\n", m.headline())
	if len(m.Scenarios) > 0 {
		m.markdownCells(&out)
		m.markdownBroken(&out)
		m.markdownGuarantees(&out)
	}
	m.markdownPrices(&out)
	if m.Outbox != "" {
		fmt.Fprintf(&out, "\n## Is an outbox worth its cost?\n\n%s\n", strings.ReplaceAll(m.Outbox, "\n", "\n\n"))
	}
	fmt.Fprintf(&out, "\n## What ran\n\n")
	for _, row := range pairs(m.Versions) {
		fmt.Fprintf(&out, "- %s: %s\n", escape(row[0]), escape(row[1]))
	}
	if _, err := io.WriteString(w, out.String()); err != nil {
		return fmt.Errorf("write matrix: %w", err)
	}
	return nil
}

func (m Matrix) markdownCells(out *strings.Builder) {
	fmt.Fprintf(out, "\n✓ holds, ✗ k/n breaks in k of n runs, ? unknown, – the scenario needs what the design lacks, %s an anomaly that is not expected.\n\n", differs)
	head := []string{"Design"}
	for _, s := range m.Scenarios {
		head = append(head, s.Name)
	}
	var rows [][]string
	for _, row := range m.Rows {
		line := []string{row.Name}
		for _, cell := range row.Cells {
			line = append(line, m.symbol(cell))
		}
		rows = append(rows, line)
	}
	markdownTable(out, head, rows)
}

func (m Matrix) markdownBroken(out *strings.Builder) {
	var rows [][]string
	for _, row := range m.Rows {
		for _, cell := range row.Cells {
			switch cell.Kind {
			case Breaks:
				rows = append(rows, []string{row.Name, cell.Scenario, list(cell.Anomalies), code(cell.Repeat)})
			case Unknown:
				rows = append(rows, []string{row.Name, cell.Scenario, "unknown: " + strings.Join(cell.Why, "; "), code(cell.Repeat)})
			}
		}
	}
	if len(rows) > 0 {
		fmt.Fprintf(out, "\n## What broke\n\nRuns that named the anomaly, of those judged, with the Wilson interval of 95 %%.\n\n")
		markdownTable(out, []string{"Design", "Scenario", "Anomalies", "Repeat"}, rows)
	}
	rows = nil
	for _, row := range m.Rows {
		if !row.Described {
			continue
		}
		var unexpected []string
		for _, a := range row.Anomalies {
			if a.Unexpected {
				unexpected = append(unexpected, a.Name)
			}
		}
		mark := ""
		if row.Differences() > 0 {
			mark = differs
		}
		rows = append(rows, []string{row.Name, row.Expects, strings.Join(row.Breaks, ", "), strings.Join(unexpected, ", "), strings.Join(row.Never, ", "), mark})
	}
	if len(rows) > 0 {
		fmt.Fprintf(out, "\n## What is expected\n\n")
		markdownTable(out, []string{"Design", "The literature", "It breaks", "Not expected, and seen", "Expected, and never seen", ""}, rows)
	}
}

func (m Matrix) markdownGuarantees(out *strings.Builder) {
	var rows [][]string
	for _, row := range m.Rows {
		rows = append(rows, []string{row.Name, strings.Join(row.Broken, ", "), fmt.Sprint(len(row.Held)), strings.Join(row.Held, ", ")})
	}
	fmt.Fprintf(out, "\n## Which guarantees hold in fact\n\nOf those that a run gave something to judge, over all scenarios: broken in one of them, or held in all.\n\n")
	markdownTable(out, []string{"Design", "Broken", "Held", ""}, rows)
}

func (m Matrix) markdownPrices(out *strings.Builder) {
	rows := m.prices()
	if len(rows) == 0 {
		return
	}
	plan := m.Price.WithDefaults()
	fmt.Fprintf(out, "\n## Price\n\nWithout faults, links and taps, alone on the machine, default replica identity. Orders/s: confirmed, with %d clients "+
		"that never rest. The other figures: at %.0f orders a second.\n\n", plan.Clients, plan.Pace)
	markdownTable(out, []string{"Design", "Orders/s", "p50 ms", "p99 ms", "Commits per order", "WAL kB per order", "Kafka records per order", "Remarks"}, rows)
}

func markdownTable(out *strings.Builder, head []string, rows [][]string) {
	line := func(cells []string) {
		escaped := make([]string, len(cells))
		for i, cell := range cells {
			escaped[i] = escape(cell)
		}
		fmt.Fprintf(out, "| %s |\n", strings.Join(escaped, " | "))
	}
	line(head)
	fmt.Fprintf(out, "|%s\n", strings.Repeat(" --- |", len(head)))
	for _, row := range rows {
		line(row)
	}
}

// escape keeps a text in its cell.
func escape(text string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;").Replace(text)
}

func code(command string) string {
	if command == "" {
		return ""
	}
	return "`" + strings.ReplaceAll(command, "`", "'") + "`"
}

// WriteJSON writes the matrix as one JSON object with a newline after it. Lists are never null.
func WriteJSON(w io.Writer, m Matrix) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(m); err != nil {
		return fmt.Errorf("write matrix: %w", err)
	}
	return nil
}
