package report

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"time"
)

// The JSON report. Names that are here stay: CI pipelines read them. Lists are never null.
type jsonRun struct {
	Verdict     string            `json:"verdict"`
	Seed        uint64            `json:"seed"`
	Backend     string            `json:"backend"`
	Versions    map[string]string `json:"versions,omitempty"`
	Started     time.Time         `json:"started"`
	Seconds     float64           `json:"seconds"`
	Interrupted bool              `json:"interrupted"`
	Repeat      string            `json:"repeat"`
	LeftOut     []jsonLeftOut     `json:"left_out"`
	Notes       []string          `json:"notes"`
	Scenarios   []jsonScenario    `json:"scenarios"`
}

type jsonLeftOut struct {
	Needs     string   `json:"needs"`
	Scenarios []string `json:"scenarios"`
}

type jsonScenario struct {
	Name         string          `json:"name"`
	About        string          `json:"about,omitempty"`
	Design       string          `json:"design"`
	Without      []string        `json:"without"`
	Verdict      string          `json:"verdict"`
	Seconds      float64         `json:"seconds"`
	Operations   int             `json:"operations"`
	Acknowledged int             `json:"acknowledged"`
	Guarantees   []jsonGuarantee `json:"guarantees"`
	Anomalies    []jsonAnomaly   `json:"anomalies"`
	Faults       []jsonFault     `json:"faults"`
	Reasons      []string        `json:"reasons"`
	Error        string          `json:"error,omitempty"`
	Interrupted  bool            `json:"interrupted,omitempty"`
	Repeat       string          `json:"repeat"`
	History      string          `json:"history,omitempty"`
	Logs         string          `json:"logs,omitempty"`
}

type jsonGuarantee struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Verdict  string `json:"verdict"`
	Examined int    `json:"examined"`
	Skipped  bool   `json:"skipped"`
	Reason   string `json:"reason,omitempty"`
}

type jsonAnomaly struct {
	Name      string       `json:"name"`
	Guarantee string       `json:"guarantee"`
	Subject   string       `json:"subject"`
	Detail    string       `json:"detail"`
	Story     []jsonMoment `json:"story"`
}

type jsonMoment struct {
	AtMS   float64 `json:"at_ms"`
	Source string  `json:"source"`
	What   string  `json:"what"`
}

type jsonFault struct {
	Name       string `json:"name"`
	Link       string `json:"link"`
	InjectedMS int64  `json:"injected_ms"`
	HealedMS   int64  `json:"healed_ms"`
	Bit        bool   `json:"bit"`
	Evidence   string `json:"evidence"`
}

// WriteJSON writes the run as one JSON object with a newline after it: the report.json of a run, and
// what --json prints. Strings are written as they are, not shortened and not made printable.
func WriteJSON(w io.Writer, run Run) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false) // "order->postgres" stays readable; this is no web page
	if err := encoder.Encode(newJSON(run)); err != nil {
		return fmt.Errorf("write json: %w", err)
	}
	return nil
}

func newJSON(run Run) jsonRun {
	return jsonRun{
		Verdict: run.Verdict.String(), Seed: run.Seed, Backend: run.Backend, Versions: run.Versions,
		Started: run.Started, Seconds: rounded(run.Seconds), Interrupted: run.Interrupted,
		Repeat:    run.Repeat,
		LeftOut:   each(run.LeftOut, func(l LeftOut) jsonLeftOut { return jsonLeftOut{l.Needs, append([]string{}, l.Scenarios...)} }),
		Notes:     append([]string{}, run.Notes...),
		Scenarios: each(run.Scenarios, newJSONScenario),
	}
}

func newJSONScenario(s Scenario) jsonScenario {
	return jsonScenario{
		Name: s.Name, About: s.About, Design: s.Design, Without: append([]string{}, s.Without...),
		Verdict: s.Verdict.String(), Seconds: rounded(s.Seconds),
		Operations: s.Operations, Acknowledged: s.Acknowledged,
		Guarantees: each(s.Guarantees, func(g Guarantee) jsonGuarantee {
			return jsonGuarantee{g.ID, g.Name, g.Verdict.String(), g.Examined, g.Skipped, g.Reason}
		}),
		Anomalies: each(s.Anomalies, func(a Anomaly) jsonAnomaly {
			return jsonAnomaly{a.Name, a.Guarantee, a.Subject, a.Detail, each(a.Story, func(m Moment) jsonMoment {
				return jsonMoment{float64(m.At.Microseconds()) / 1000, m.Source, m.What}
			})}
		}),
		Faults: each(s.Faults, func(f Fault) jsonFault {
			return jsonFault(f)
		}),
		Reasons: append([]string{}, s.Reasons...), Error: s.Error, Interrupted: s.Interrupted,
		Repeat: s.Repeat, History: s.History, Logs: s.Logs,
	}
}

// each converts a list; an empty one stays a list, so that JSON never shows null for it.
func each[A, B any](list []A, convert func(A) B) []B {
	out := make([]B, 0, len(list))
	for _, item := range list {
		out = append(out, convert(item))
	}
	return out
}

// rounded keeps milliseconds. JSON has no word for NaN or infinity, so those become zero.
func rounded(s float64) float64 {
	if math.IsNaN(s) || math.IsInf(s, 0) {
		return 0
	}
	return math.Round(s*1000) / 1000
}
