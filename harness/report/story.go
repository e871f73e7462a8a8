package report

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// sentence is the anomaly in one line: "double-effect: order 42: stock was reserved twice".
func (a Anomaly) sentence() string {
	return joinNonEmpty(": ", a.Name, a.Subject, a.Detail)
}

// lines tell the anomaly in full: the guarantee that broke, the order or SKU, and
// its events in order with their times.
func (a Anomaly) lines(g Guarantee) []string {
	lines := []string{joinNonEmpty("  ", a.Name, a.Subject)}
	lines = append(lines, "  breaks "+joinNonEmpty(": ", g.label(), g.Statement))
	if a.Detail != "" {
		lines = append(lines, "  "+a.Detail)
	}
	return append(lines, storyLines(a.Story, "    ")...)
}

// Headings of a story. A row is observed when it comes out of the database's log, which may be after
// what it led to: no other time is known.
const (
	timeHeading   = "observed"
	sourceHeading = "seen at"
)

// storyLines aligns a story in columns.
func storyLines(story []Moment, indent string) []string {
	if len(story) == 0 {
		return nil
	}
	times, sources := len(timeHeading), len(sourceHeading)
	for _, m := range story {
		times = max(times, len(clock(m.At)))
		sources = max(sources, utf8.RuneCountInString(m.Source))
	}
	sources = min(sources, 32)
	lines := []string{fmt.Sprintf("%s%*s  %-*s  %s", indent, times, timeHeading, sources, sourceHeading, "what")}
	for _, m := range story {
		lines = append(lines, fmt.Sprintf("%s%*s  %-*s  %s", indent, times, clock(m.At), sources, m.Source, m.What))
	}
	return lines
}

// Tell writes what went wrong in one scenario, for a person to read: every violation with the guarantee,
// the order or SKU and its events in order with times, every reason why the verdict is unknown, what
// the harness could not do, and the one command that repeats it. It is empty when all is well.
// The terminal prints this, and so does a failing go test.
func Tell(s Scenario) string { return tell(printableScenario(s), false) }

func tell(s Scenario, paint painter) string {
	body := append(anomalyLines(s, paint), errorLines(s, paint)...)
	body = append(body, reasonLines(s, paint)...)
	if len(body) == 0 {
		return ""
	}
	lines := append([]string{paint.bold(s.title())}, body...)
	if s.Repeat != "" {
		lines = append(lines, "  "+paint.dim("repeat:")+" "+paint.bold(s.Repeat))
	}
	return strings.Join(lines, "\n") + "\n"
}

func anomalyLines(s Scenario, paint painter) []string {
	mark := "  " + paint.red("✗") + " "
	var lines []string
	for _, group := range byName(s.Anomalies) {
		for _, a := range group.told {
			told := a.lines(s.guarantee(a.Guarantee))
			lines = append(lines, mark+paint.bold(told[0]))
			for _, l := range told[1:] {
				lines = append(lines, "  "+l)
			}
		}
		if len(group.rest) > 0 {
			lines = append(lines, mark+group.more())
		}
	}
	return lines
}

func errorLines(s Scenario, paint painter) []string {
	if s.Error == "" {
		return nil
	}
	lines := []string{"  " + paint.red("!") + " " + paint.bold(s.failure())}
	for _, l := range strings.Split(s.Error, "\n") {
		lines = append(lines, "    "+l)
	}
	return lines
}

// reasonLines are the reasons why the scenario could not be judged. Where the run was cut short they
// follow from that, so they are only counted; where it never began they say nothing at all.
func reasonLines(s Scenario, paint painter) []string {
	var lines []string
	reasons := s.unknowns()
	if s.Error != "" && s.Operations == 0 {
		return nil
	}
	if s.Error != "" && len(reasons) > 0 {
		reasons = []string{fmt.Sprintf("see report.json for %s that came of it", counted(len(reasons), "reason"))}
	}
	for _, reason := range reasons {
		for i, l := range strings.Split(reason, "\n") {
			if i == 0 {
				lines = append(lines, "  "+paint.yellow("?")+" "+paint.bold("unknown:")+" "+l)
				continue
			}
			lines = append(lines, "    "+l)
		}
	}
	return lines
}

// joinNonEmpty joins the parts that are there.
func joinNonEmpty(separator string, parts ...string) string {
	var kept []string
	for _, part := range parts {
		if part != "" {
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, separator)
}
