package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"github.com/ordeal-chaos/ordeal/harness/check"
)

type junitRun struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Skipped  int          `xml:"skipped,attr"`
	Time     string       `xml:"time,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name       string          `xml:"name,attr"`
	Tests      int             `xml:"tests,attr"`
	Failures   int             `xml:"failures,attr"`
	Errors     int             `xml:"errors,attr"`
	Skipped    int             `xml:"skipped,attr"`
	Time       string          `xml:"time,attr"`
	Timestamp  string          `xml:"timestamp,attr"`
	Properties []junitProperty `xml:"properties>property"`
	Cases      []junitCase     `xml:"testcase"`
	Output     *junitOutput    `xml:"system-out"`
}

type junitProperty struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type junitCase struct {
	Name      string       `xml:"name,attr"`
	Classname string       `xml:"classname,attr"`
	Time      string       `xml:"time,attr"`
	Failure   *junitResult `xml:"failure"`
	Error     *junitResult `xml:"error"`
	Skipped   *junitResult `xml:"skipped"`
}

type junitOutput struct {
	Text string `xml:",cdata"`
}

type junitResult struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",cdata"`
}

// WriteJUnit writes the run for a CI server: a suite for each scenario, a case for each guarantee. A
// violation is a failure; unknown is an error, because viewers show skipped as green; what a scenario
// does not exercise is skipped. Every suite ends with a case of its own for the scenario as a whole,
// which holds the reasons that belong to no guarantee and the errors of the harness. Case names repeat
// the scenario, because many viewers show nothing else, and are the same in every run.
func WriteJUnit(w io.Writer, run Run) error {
	run = printable(run) // what XML cannot hold, such as control characters, is spelled out after this
	all := junitRun{Name: "ordeal", Time: junitTime(run.Seconds)}
	for _, s := range run.Scenarios {
		all.Suites = append(all.Suites, newJUnitSuite(run, s))
	}
	for _, left := range run.LeftOut {
		all.Suites = append(all.Suites, each(left.Scenarios, func(name string) junitSuite { return leftOut(run, name, left) })...)
	}
	if run.Interrupted || len(run.Scenarios) == 0 {
		all.Suites = append(all.Suites, incomplete(run))
	}
	for _, suite := range all.Suites {
		all.Tests += suite.Tests
		all.Failures += suite.Failures
		all.Errors += suite.Errors
		all.Skipped += suite.Skipped
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return fmt.Errorf("write junit: %w", err)
	}
	encoder := xml.NewEncoder(w)
	encoder.Indent("", "  ")
	if err := encoder.Encode(all); err != nil {
		return fmt.Errorf("write junit: %w", err)
	}
	if _, err := io.WriteString(w, "\n"); err != nil {
		return fmt.Errorf("write junit: %w", err)
	}
	return nil
}

func newJUnitSuite(run Run, s Scenario) junitSuite {
	var cases []junitCase
	for _, g := range s.Guarantees {
		cases = append(cases, guaranteeCase(s, g))
	}
	return newSuite(run, junitSuite{
		Name: s.title(), Time: junitTime(s.Seconds), Cases: append(cases, wholeCase(s)),
		Properties: []junitProperty{
			{"design", s.Design},
			{"without", strings.Join(s.Without, ",")},
			{"seed", fmt.Sprint(run.Seed)},
			{"backend", run.Backend},
			{"repeat", s.Repeat},
			{"history", s.History},
		},
		Output: &junitOutput{faultLines(s)},
	})
}

// incomplete is the suite that keeps a run without all its results from looking green.
func incomplete(run Run) junitSuite {
	message := "no scenario ran"
	if run.Interrupted {
		message = "the run was interrupted: results are missing"
	}
	return newSuite(run, junitSuite{Name: "ordeal", Time: junitTime(0), Cases: []junitCase{{
		Name: "ordeal: the run is complete", Classname: "ordeal", Time: junitTime(0),
		Error: &junitResult{Message: andRepeat(message, run.Repeat), Type: check.Unknown.String(), Text: repeatLine(run.Repeat)},
	}}})
}

// leftOut is the suite of a scenario that was not run.
func leftOut(run Run, name string, left LeftOut) junitSuite {
	c := newCase(Scenario{Name: name}, "the run is conclusive")
	c.Skipped = &junitResult{Message: "left out: it needs " + left.Needs}
	return newSuite(run, junitSuite{Name: name, Time: junitTime(0), Cases: []junitCase{c}})
}

func newSuite(run Run, suite junitSuite) junitSuite {
	suite.Timestamp = run.Started.UTC().Format("2006-01-02T15:04:05")
	for _, c := range suite.Cases {
		suite.Tests++
		switch {
		case c.Failure != nil:
			suite.Failures++
		case c.Error != nil:
			suite.Errors++
		case c.Skipped != nil:
			suite.Skipped++
		}
	}
	return suite
}

func guaranteeCase(s Scenario, g Guarantee) junitCase {
	c := newCase(s, g.label())
	switch {
	case g.Verdict == check.Fail:
		c.Failure = violation(s, g)
	case g.Skipped:
		c.Skipped = &junitResult{Message: joinNonEmpty(": ", "not exercised by this scenario", g.Statement)}
	case g.Verdict != check.Pass:
		reason := g.Reason
		if reason == "" {
			reason = "could not be judged"
		}
		c.Error = &junitResult{
			Message: andRepeat(reason, s.Repeat), Type: g.Verdict.String(),
			Text: joinNonEmpty("\n", g.Statement, g.Reason) + "\n" + repeatLine(s.Repeat),
		}
	}
	return c
}

func violation(s Scenario, g Guarantee) *junitResult {
	var anomalies []Anomaly
	for _, a := range s.Anomalies {
		if a.Guarantee == g.Name {
			anomalies = append(anomalies, a)
		}
	}
	result := &junitResult{Message: "broken, but no anomaly was recorded", Type: "violation"}
	var text strings.Builder
	if len(anomalies) > 0 {
		result.Type, result.Message = anomalies[0].Name, anomalies[0].sentence()
	}
	if len(anomalies) > 1 {
		result.Message += fmt.Sprintf(" (and %d more)", len(anomalies)-1)
	}
	for _, group := range byName(anomalies) {
		for _, a := range group.told {
			text.WriteString("\n" + strings.Join(a.lines(g), "\n") + "\n")
		}
		if len(group.rest) > 0 {
			text.WriteString("\n" + group.more() + "\n")
		}
	}
	result.Message = andRepeat(result.Message, s.Repeat)
	result.Text = text.String() + "\n" + repeatLine(s.Repeat)
	return result
}

// wholeCase stands for the scenario as a whole.
func wholeCase(s Scenario) junitCase {
	c := newCase(s, "the run is conclusive")
	if s.Error != "" {
		kind := "harness"
		if s.NotStarted {
			kind = "system"
		}
		c.Error = &junitResult{Message: andRepeat(s.Error, s.Repeat), Type: kind, Text: s.Error + "\n" + repeatLine(s.Repeat)}
		return c
	}
	reasons := s.unknowns()
	if len(reasons) == 0 {
		return c
	}
	c.Error = &junitResult{
		Message: andRepeat(reasons[0], s.Repeat), Type: check.Unknown.String(),
		Text: strings.Join(reasons, "\n") + "\n" + repeatLine(s.Repeat),
	}
	return c
}

func newCase(s Scenario, what string) junitCase {
	// Cases take the time of no one: judging is one pass over the history for all of them.
	return junitCase{Name: s.title() + ": " + what, Classname: "ordeal." + s.Name, Time: junitTime(0)}
}

func faultLines(s Scenario) string {
	var out strings.Builder
	for _, f := range s.Faults {
		bit := "bit"
		if !f.Bit {
			bit = "did not bite"
		}
		fmt.Fprintf(&out, "%s, %s, %s: %s\n", f.label(), f.window(), bit, f.Evidence)
	}
	return out.String()
}

func repeatLine(command string) string {
	if command == "" {
		return ""
	}
	return "repeat: " + command + "\n"
}

// andRepeat is the first line of a message, and the command: many viewers show nothing of the text below.
func andRepeat(message, command string) string {
	line, _, _ := strings.Cut(message, "\n")
	if command == "" {
		return line
	}
	return line + " | repeat: " + command
}

func junitTime(seconds float64) string { return fmt.Sprintf("%.3f", rounded(seconds)) }
