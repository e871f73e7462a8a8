package matrix

import (
	"fmt"
	"strings"

	"github.com/ordeal-chaos/ordeal/harness/price"
)

// The designs by which the question of the outbox is answered.
const (
	withOutbox    = "sound"
	afterCommit   = "after-commit"
	inTransaction = "in-transaction"
)

// outbox answers whether an outbox is worth its cost, in a sentence for each design without one; empty where a figure
// is missing.
func (m Matrix) outbox() string {
	sound, ok := m.figures(withOutbox)
	if !ok {
		return ""
	}
	var sentences []string
	disturbed := sound.Disturbed()
	for _, other := range []string{afterCommit, inTransaction} {
		figures, ok := m.figures(other)
		if !ok {
			continue
		}
		disturbed = disturbed || figures.Disturbed()
		sentences = append(sentences, fmt.Sprintf("%s, with an outbox, against %s: %s. In return, %s %s, and %s %s.",
			withOutbox, other, compared(sound, figures), withOutbox, m.verdict(withOutbox), other, m.verdict(other)))
	}
	if disturbed && len(sentences) > 0 {
		sentences = append(sentences, "The machine was busy with other things meanwhile: measure again before you rely on these figures.")
	}
	return strings.Join(sentences, "\n")
}

// compared says what one design costs instead of another.
func compared(a, b price.Figures) string {
	change := func(is, was float64) string {
		if was == 0 {
			return ""
		}
		return fmt.Sprintf(" (%+.0f %%)", 100*(is/was-1))
	}
	return fmt.Sprintf("%.0f orders/s instead of %.0f%s, confirmed after %.1f ms instead of %.1f at p50 and %.1f instead of %.1f at p99, "+
		"%.1f commits per order instead of %.1f%s and %.1f kB of write-ahead log instead of %.1f%s",
		a.Saturated.PerSecond, b.Saturated.PerSecond, change(a.Saturated.PerSecond, b.Saturated.PerSecond),
		a.Paced.P50, b.Paced.P50, a.Paced.P99, b.Paced.P99,
		a.Paced.Commits, b.Paced.Commits, change(a.Paced.Commits, b.Paced.Commits),
		a.Paced.WALBytes/1000, b.Paced.WALBytes/1000, change(a.Paced.WALBytes, b.Paced.WALBytes))
}

// verdict says in how many cells a design broke, and with what.
func (m Matrix) verdict(design string) string {
	for _, row := range m.Rows {
		if row.Name != design {
			continue
		}
		broke, ran := 0, 0
		for _, cell := range row.Cells {
			if cell.Kind == Breaks {
				broke++
			}
			if cell.Kind != NotApplicable && cell.Broke.Of > 0 {
				ran++
			}
		}
		lost := ""
		if row.Price != nil && left(row.Price) != "" {
			lost = ", and without any fault it left open: " + left(row.Price)
		}
		switch {
		case ran == 0:
			return "was put through no scenario" + lost
		case broke == 0:
			return fmt.Sprintf("held in %s", counted(ran, "scenario")) + lost
		}
		var names []string
		for _, a := range row.Anomalies {
			names = append(names, a.Name)
		}
		return fmt.Sprintf("broke in %d of %s (%s)", broke, counted(ran, "scenario"), strings.Join(names, ", ")) + lost
	}
	return ""
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
