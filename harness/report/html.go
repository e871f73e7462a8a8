package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"

	"github.com/ordeal-chaos/ordeal/harness/check"
)

//go:embed index.html.tmpl
var pageSource string

//go:embed index.css
var pageStyle string

var page = template.Must(template.New("index.html").Funcs(template.FuncMap{
	"clock":   clock,
	"seconds": seconds,
	"style":   func() template.CSS { return template.CSS(pageStyle) }, // our own file
	"join":    strings.Join,
}).Parse(pageSource))

// The page's view of a run: what the templates cannot compute.
type htmlRun struct {
	Run
	Mark, Headline, Began string
	Scenarios             []htmlScenario
}

type htmlScenario struct {
	Scenario
	ID, Class, Outcome, Design string
	Failure                    string // heading of Error
	Kept, Judged, Bitten       int
	Timeline                   *timeline
	Unknowns                   []string
	Guarantees                 []htmlGuarantee
	Anomalies                  []htmlAnomaly
	Faults                     []htmlFault
}

type htmlGuarantee struct {
	Guarantee
	Class, Word string
}

type htmlAnomaly struct {
	Anomaly
	Breaks Guarantee
	Open   bool
}

type htmlFault struct {
	Fault
	Window string
}

// WriteHTML writes the run as one page that needs nothing else: no script, no network, no other file.
// What clients sent is escaped by html/template, and a content security policy forbids scripts besides.
func WriteHTML(w io.Writer, run Run) error {
	run = printable(run)
	view := htmlRun{
		Run: run, Mark: class(run.Verdict), Headline: capital(run.headline()),
		Began: run.Started.UTC().Format(time.RFC3339),
	}
	for i, s := range run.Scenarios {
		view.Scenarios = append(view.Scenarios, newHTMLScenario(i, s))
	}
	if err := page.Execute(w, view); err != nil {
		return fmt.Errorf("write html: %w", err)
	}
	return nil
}

func newHTMLScenario(index int, s Scenario) htmlScenario {
	view := htmlScenario{
		Scenario: s, ID: fmt.Sprintf("s%d", index+1), Class: class(s.Verdict), Outcome: s.outcome(), Design: s.design(),
		Failure: capital(s.failure()), Bitten: s.bitten(), Timeline: newTimeline(s), Unknowns: s.unknowns(),
		Guarantees: each(s.Guarantees, func(g Guarantee) htmlGuarantee {
			view := htmlGuarantee{g, class(g.Verdict), g.word()}
			if g.Skipped {
				view.Class = "skipped"
			}
			return view
		}),
		Faults: each(s.Faults, func(f Fault) htmlFault { return htmlFault{f, f.window()} }),
	}
	view.Kept, view.Judged = s.tally()
	for i, a := range s.Anomalies {
		view.Anomalies = append(view.Anomalies, htmlAnomaly{a, s.guarantee(a.Guarantee), i == 0})
	}
	return view
}

// class is the style of a verdict.
func class(v check.Verdict) string {
	switch v {
	case check.Pass:
		return "pass"
	case check.Fail:
		return "fail"
	default:
		return "unknown"
	}
}
