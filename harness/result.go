package harness

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

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

// Anomalies are the names of the anomalies found, the most telling first, each once.
func (r Result) Anomalies() []string {
	var names []string
	for _, anomaly := range mostTellingFirst(r.Judgement.Anomalies()) {
		if !slices.Contains(names, anomaly.Name) {
			names = append(names, anomaly.Name)
		}
	}
	return names
}

// Report turns the result into what the report writers need.
func (r Result) Report() report.Scenario {
	s := report.Scenario{
		Name: r.Scenario.Name, About: r.Scenario.About, Design: r.Scenario.System.Name, Without: r.Scenario.System.Without,
		Verdict: r.Verdict, Seconds: r.Seconds, Operations: r.Operations, Acknowledged: r.Acknowledged,
		Reasons: r.Judgement.Reasons, Error: text(r.Error), NotStarted: errors.Is(r.Error, ErrService), Interrupted: r.Interrupted, Repeat: r.Repeat,
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
		if op.Outcome == history.OK {
			s.Acknowledged++
		}
	}
	describe(&s, view, judgement)
	s.Seconds = float64(s.LengthMS) / 1000
	return s
}

// describe fills in what the judgement and the history say.
func describe(s *report.Scenario, view *check.View, judgement check.Judgement) {
	for _, result := range judgement.Results {
		s.Guarantees = append(s.Guarantees, report.Guarantee{
			ID: result.ID, Name: result.Name, Statement: result.Statement, Verdict: result.Verdict,
			Examined: result.Examined, Skipped: result.Skipped, Reason: result.Reason,
		})
	}
	// The anomalies of a guarantee that did not fail are suspicions, for want of complete observation:
	// they are in its reason.
	anomalies := mostTellingFirst(judgement.Anomalies())
	for _, a := range anomalies {
		s.Anomalies = append(s.Anomalies, report.Anomaly{Name: a.Name, Guarantee: a.Guarantee, Subject: a.Subject, Detail: a.Detail})
	}
	if view == nil {
		return
	}
	for _, i := range report.Telling(s.Anomalies) {
		for _, moment := range view.Story(anomalies[i]) {
			s.Anomalies[i].Story = append(s.Anomalies[i].Story, report.Moment{At: moment.At, Source: moment.Source, What: moment.What})
		}
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
			faults[i].Evidence = effect(stage.Evidence, stage.Error)
		}
	}
	return faults
}

// FaultUpdate says a fault's news in the words of progress.
func FaultUpdate(f history.Fault) (name, evidence string) {
	name = fmt.Sprintf("%s on %s", f.Name, f.Target)
	if f.Stage == history.Observed {
		evidence = effect(f.Evidence, f.Error)
	}
	return name, evidence
}

// effect is what was measured of a fault, and why it could not be injected.
func effect(evidence, failure string) string {
	if evidence == "" || failure == "" {
		return evidence + failure
	}
	return evidence + "; " + failure
}
