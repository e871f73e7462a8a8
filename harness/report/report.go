// Package report turns the results of a run into what people and machines read: the report files
// (JSON, JUnit, Markdown, HTML), the live progress, and the result table of a terminal.
package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/ordeal-chaos/ordeal/harness/check"
)

// Run is everything that a report says. It is plain data: every string in it may be hostile (an order
// id is chosen by a client), and every writer of this package escapes it for its own format.
type Run struct {
	Verdict  check.Verdict
	Seed     uint64
	Backend  string            // "embedded" or "containers"
	Versions map[string]string // what ran: "postgres": "17.5"
	Repeat   string            // the one command that runs all of it again
	Started  time.Time
	Seconds  float64 // wall time of the whole run
	// Interrupted says that the run was stopped before its end, so that scenarios are missing.
	Interrupted bool
	Scenarios   []Scenario
	// LeftOut are the scenarios that this run could not have carried out.
	LeftOut []LeftOut
	// Notes are sentences about the run as a whole: "no scenario of this run exposes the lack of acks-all".
	Notes []string
}

// LeftOut are scenarios that were not run because they need what the run did not have.
type LeftOut struct {
	Needs     string // "--backend containers --brokers 3"
	Scenarios []string
}

// String is one sentence: "11 scenarios were left out: they need --brokers 3".
func (l LeftOut) String() string {
	verbs := "were left out: they need"
	if len(l.Scenarios) == 1 {
		verbs = "was left out: it needs"
	}
	return fmt.Sprintf("%s %s %s", counted(len(l.Scenarios), "scenario"), verbs, l.Needs)
}

// Scenario is the result of one scenario.
type Scenario struct {
	Name, About, Design string
	Without             []string // guards removed from the design
	Verdict             check.Verdict
	Seconds             float64
	Operations          int // invoked by clients
	Acknowledged        int // answered with success
	Guarantees          []Guarantee
	Anomalies           []Anomaly
	Faults              []Fault
	Reasons             []string // why the verdict is unknown
	Error               string   // why the run was not carried out; may have several lines
	NotStarted          bool     // the system under test is why: a service did not become ready; else the harness
	Interrupted         bool     // it was stopped before its end, which is reason enough for an unknown
	Repeat              string   // the one command that runs this scenario again
	History             string   // path of history.jsonl, relative to the report's folder
	Logs                string   // path of the folder with the processes' logs, likewise

	// The last three only draw the time axis of the HTML report.
	LengthMS int64       // length of the history; 0 means: until the last thing that is known
	Phases   []Phase     // in order
	Sample   []Operation // give them all: the writer draws some hundreds, those that went wrong first
}

// Guarantee is what one checker found.
type Guarantee struct {
	ID        string // "I7"; several guarantees may share it
	Name      string // "effects-at-most-once"
	Statement string // one sentence
	Verdict   check.Verdict
	Examined  int // subjects judged
	// Skipped says that the scenario gave it nothing to judge, and did not promise to. It is neither kept
	// nor broken.
	Skipped bool
	Reason  string // why the verdict is unknown, or why it was skipped
}

// word is the verdict of a guarantee as every human report spells it.
func (g Guarantee) word() string {
	if g.Skipped {
		return "not exercised"
	}
	return g.Verdict.String()
}

// label names the guarantee: "I7 effects-at-most-once".
func (g Guarantee) label() string { return strings.TrimSpace(g.ID + " " + g.Name) }

// Anomaly is one named violation, and the events that prove it.
type Anomaly struct {
	Name      string // "double-effect"
	Guarantee string // name of the guarantee that it breaks
	Subject   string // "order 42", "sku 7"
	Detail    string // what was seen, in a sentence
	Story     []Moment
}

// Moment is one event of a story.
type Moment struct {
	At     time.Duration // since the history began
	Source string        // who saw it: "client", "orders.orders", "order-events/3", "order->postgres"
	What   string
}

// Fault is one injected fault.
type Fault struct {
	Name       string
	Link       string // what was broken: a link, a process or a topic
	InjectedMS int64  // since the history began
	HealedMS   int64  // likewise; less than InjectedMS when it was never healed
	Bit        bool   // an effect was measured
	Evidence   string // that effect, with figures; or why there is none
}

// Phase is one part of a run; it ends where the next one starts.
type Phase struct {
	Name    string
	StartMS int64
}

// Operation is one client operation, drawn as a dot.
type Operation struct {
	AtMS    int64
	TookMS  float64
	Outcome string // history.OK, history.Fail or history.Info
}

// design is the design with the guards taken from it: "outbox, without inbox-dedup".
func (s Scenario) design() string {
	if len(s.Without) == 0 {
		return s.Design
	}
	return joinNonEmpty(", ", s.Design, "without "+strings.Join(s.Without, ", "))
}

// title names a scenario with its design: "checkout (outbox, without inbox-dedup)".
func (s Scenario) title() string {
	if s.design() == "" {
		return s.Name
	}
	return fmt.Sprintf("%s (%s)", s.Name, s.design())
}

// guarantee finds a guarantee by name; of one that is not listed only the name is known.
func (s Scenario) guarantee(name string) Guarantee {
	for _, g := range s.Guarantees {
		if g.Name == name {
			return g
		}
	}
	return Guarantee{Name: name}
}

// bitten counts the faults that had a measured effect.
func (s Scenario) bitten() int {
	n := 0
	for _, f := range s.Faults {
		if f.Bit {
			n++
		}
	}
	return n
}

// tally counts the guarantees that were judged, and those among them that were kept.
func (s Scenario) tally() (kept, judged int) {
	for _, g := range s.Guarantees {
		if g.Skipped {
			continue
		}
		judged++
		if g.Verdict == check.Pass {
			kept++
		}
	}
	return kept, judged
}

// unknowns are all the reasons why a scenario could not be judged, or not wholly, each once: its own and,
// unless it passed without them, those of its guarantees.
func (s Scenario) unknowns() []string {
	if s.Interrupted {
		return []string{"interrupted before its end"}
	}
	var all []string
	seen := map[string]bool{}
	add := func(reason string) {
		if !seen[reason] {
			seen[reason] = true
			all = append(all, reason)
		}
	}
	for _, reason := range s.Reasons {
		add(reason)
	}
	for _, g := range s.Guarantees {
		if s.Verdict != check.Pass && g.Verdict == check.Unknown && !g.Skipped && g.Reason != "" && !mentioned(s.Reasons, g.Reason) {
			add(g.label() + ": " + g.Reason)
		}
	}
	if len(all) == 0 && s.Verdict == check.Unknown && s.Error == "" {
		add("no reason was recorded")
	}
	return all
}

func mentioned(reasons []string, reason string) bool {
	for _, r := range reasons {
		if strings.Contains(r, reason) {
			return true
		}
	}
	return false
}

// failure says whose Error is.
func (s Scenario) failure() string {
	if s.NotStarted {
		return "the system did not start"
	}
	return "the harness failed"
}

// remarks are what must be known of the run as a whole beside its verdict.
func (r Run) remarks() []string {
	return append(each(r.LeftOut, LeftOut.String), r.Notes...)
}

// headline is the run in one sentence.
func (r Run) headline() string {
	count := map[check.Verdict]int{}
	harness, notStarted := 0, 0
	for _, s := range r.Scenarios {
		count[s.Verdict]++
		switch {
		case s.NotStarted:
			notStarted++
		case s.Error != "":
			harness++
		}
	}
	var text string
	switch total := len(r.Scenarios); {
	case total == 0:
		text = "no scenario ran"
	case count[check.Pass] == total:
		text = fmt.Sprintf("%s kept every guarantee", counted(total, "scenario"))
	default:
		parts := []string{fmt.Sprintf("%d of %s passed", count[check.Pass], counted(total, "scenario"))}
		if n := count[check.Fail]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d broke a guarantee", n))
		}
		if n := count[check.Unknown]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d could not be judged", n))
		}
		text = strings.Join(parts, ", ")
	}
	if notStarted > 0 {
		text += fmt.Sprintf(" (the system of %d did not start)", notStarted)
	}
	if harness > 0 {
		text += fmt.Sprintf(" (%s of the harness)", counted(harness, "error"))
	}
	if r.Interrupted {
		text += "; interrupted before the end"
	}
	return text
}

func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if strings.HasSuffix(noun, "s") {
		noun += "e" // processes
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
