package harness

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/ordeal-chaos/ordeal/harness/check"
	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/report"
)

// Failure is the error of a scenario that did not pass. Its text is the story that the command line
// prints: the guarantee, the order or SKU, the events in order, and the command that repeats it.
type Failure struct {
	Verdict check.Verdict
	Story   string
}

// Error implements error.
func (f *Failure) Error() string { return f.Story }

// Err is nil when the scenario passed. Otherwise it is a [*Failure], or wraps [ErrUsage]: unknown is
// not success.
func (r Result) Err() error {
	switch {
	case errors.Is(r.Error, ErrUsage):
		return r.Error
	case r.Verdict == check.Pass && r.Error == nil:
		return nil
	}
	return &Failure{Verdict: r.Verdict, Story: "\n" + report.Tell(r.Report())}
}

// Anomalies are the names of the anomalies found, in order, each once.
func (r Result) Anomalies() []string {
	var names []string
	seen := map[string]bool{}
	for _, anomaly := range r.Judgement.Anomalies() {
		if !seen[anomaly.Name] {
			seen[anomaly.Name] = true
			names = append(names, anomaly.Name)
		}
	}
	return names
}

// stories is how many anomalies of each name are told with their events; the rest are counted and listed.
const stories = 3

// Report turns the result into what the report writers need.
func (r Result) Report() report.Scenario {
	s := report.Scenario{
		Name: r.Scenario.Name, About: r.Scenario.About, Design: r.Scenario.System.Name, Without: r.Scenario.System.Without,
		Verdict: r.Verdict, Seconds: r.Seconds, Operations: r.Operations, Acknowledged: r.Acknowledged,
		Reasons: r.Judgement.Reasons, Error: text(r.Error), Repeat: r.Repeat,
		History: filepath.Join(r.Scenario.Name, "history.jsonl"), Logs: filepath.Join(r.Scenario.Name, "logs"),
	}
	describe(&s, r.View, r.Judgement)
	return s
}

// Rejudged makes the report of a saved history that was judged again.
func Rejudged(view *check.View, judgement check.Judgement) report.Scenario {
	h := view.Header
	s := report.Scenario{
		Name: h.Scenario, Design: h.Design, Without: h.Without, Verdict: judgement.Verdict,
		Reasons: judgement.Reasons, Repeat: h.Repeat, History: "history.jsonl", Logs: "logs",
	}
	for _, op := range view.Ops {
		s.Operations++
		if op.Outcome == history.OK && op.Action == history.Place {
			s.Acknowledged++
		}
	}
	describe(&s, view, judgement)
	s.Seconds = float64(s.LengthMS) / 1000
	return s
}

// describe fills in what the judgement and the history say.
func describe(s *report.Scenario, view *check.View, judgement check.Judgement) {
	told := map[string]int{}
	for _, result := range judgement.Results {
		s.Guarantees = append(s.Guarantees, report.Guarantee{
			ID: result.ID, Name: result.Name, Statement: result.Statement, Verdict: result.Verdict,
			Examined: result.Examined, Skipped: result.Skipped, Reason: result.Reason,
		})
		if result.Verdict != check.Fail {
			continue // a suspicion, for want of complete observation, is a reason and not an anomaly
		}
		for _, anomaly := range result.Anomalies {
			shown := report.Anomaly{Name: anomaly.Name, Guarantee: result.Name, Subject: anomaly.Subject, Detail: anomaly.Detail}
			if told[anomaly.Name]++; told[anomaly.Name] <= stories && view != nil {
				for _, moment := range view.Story(anomaly) {
					shown.Story = append(shown.Story, report.Moment{At: moment.At, Source: moment.Source, What: moment.What})
				}
			}
			s.Anomalies = append(s.Anomalies, shown)
		}
	}
	if view == nil {
		return
	}
	s.Faults = faultStages(view)
	for _, phase := range view.Phases {
		s.Phases = append(s.Phases, report.Phase{Name: phase.Name, StartMS: phase.At.Milliseconds()})
		s.LengthMS = phase.At.Milliseconds()
	}
	for _, op := range view.Ops {
		if op.Completed.Seq == 0 {
			continue // never answered
		}
		s.Sample = append(s.Sample, report.Operation{
			AtMS: op.Invoked.At.Milliseconds(), TookMS: float64((op.Completed.At - op.Invoked.At).Microseconds()) / 1000, Outcome: op.Outcome,
		})
	}
}

// faultStages joins the stages of each fault.
func faultStages(view *check.View) []report.Fault {
	var faults []report.Fault
	index := map[int]int{}
	for _, stage := range view.Faults {
		i, known := index[stage.ID]
		if !known {
			i = len(faults)
			index[stage.ID] = i
			faults = append(faults, report.Fault{Name: stage.Name, Link: stage.Target, HealedMS: -1})
		}
		switch stage.Stage {
		case history.Injected:
			faults[i].InjectedMS = stage.At.Milliseconds()
		case history.Healed:
			faults[i].HealedMS = stage.At.Milliseconds()
		case history.Observed:
			faults[i].Bit = stage.Bit
			faults[i].Evidence = strings.TrimSpace(stage.Evidence + " " + stage.Error)
		}
	}
	return faults
}

// FaultUpdate says a fault's news in the words of progress.
func FaultUpdate(f history.Fault) (name, evidence string) {
	name = fmt.Sprintf("%s on %s", f.Name, f.Target)
	if f.Stage == history.Observed {
		evidence = strings.TrimSpace(f.Evidence + " " + f.Error)
	}
	return name, evidence
}
