package report

import (
	"fmt"
	"os"
	"time"

	"github.com/ordeal-chaos/ordeal/harness/check"
)

// Update is something that happened in a running scenario. What it leaves empty is unchanged.
type Update struct {
	Scenario string
	Phase    string // the phase that begins: history.Baseline, …; the first update starts the scenario
	// Operations and Acknowledged are totals so far. They never fall.
	Operations, Acknowledged int
	// Fault names the fault that the next three fields speak of: "latency on order->postgres". With
	// Evidence empty it was just injected.
	Fault    string
	Bit      bool   // with Evidence: an effect was measured
	Evidence string // what was measured, or why nothing was
	// Done ends the scenario with Verdict and, unless it passed, what to say about it in a line.
	Done    bool
	Verdict check.Verdict
	Reason  string
	// Note is a line for people that belongs to no scenario, or to this one: "downloading Postgres 17".
	Note string
}

// Progress shows a run while it goes on. Its methods may be called from any goroutine.
type Progress interface {
	// Update shows what happened. It never blocks on anything but the output. After Close it does nothing.
	Update(Update)
	// Close shows what is still to be shown, stops, and waits for its goroutine. Closing twice is
	// harmless. It returns the first error of writing the output.
	Close() error
}

// NewProgress shows progress on out: a lane for every running scenario where out is a terminal, else
// lines with the time of day, at least one every ten seconds.
func NewProgress(out *os.File) Progress {
	if Terminal(out) {
		return newLive(out, painter(Colour(out)), func() (int, int) { return size(out) })
	}
	return newPlain(out)
}

// Quiet is a progress that shows nothing.
var Quiet Progress = quiet{}

type quiet struct{}

func (quiet) Update(Update) {}
func (quiet) Close() error  { return nil }

// starting is what a scenario is doing until its first phase begins: its stack takes a while.
const starting = "starting"

// lane is what progress knows about one running scenario.
type lane struct {
	name                     string
	began                    time.Time
	phase                    string
	operations, acknowledged int
	active                   []string // faults injected and not yet measured, in order
	bitten                   int
}

// lanes holds the running scenarios in the order in which they began.
type lanes struct {
	running []*lane
	passed  int
	failed  int
	unknown int
}

// apply brings the lanes up to date. It returns the lane that the update is about, nil for one about
// no scenario, and whether the scenario began with it.
func (l *lanes) apply(u Update, now time.Time) (about *lane, began bool) {
	if u.Scenario == "" {
		return nil, false
	}
	for _, known := range l.running {
		if known.name == u.Scenario {
			about = known
		}
	}
	if about == nil {
		about, began = &lane{name: u.Scenario, began: now, phase: starting}, true
		l.running = append(l.running, about)
	}
	if u.Phase != "" {
		about.phase = u.Phase
	}
	about.operations = max(about.operations, u.Operations)
	about.acknowledged = max(about.acknowledged, u.Acknowledged)
	about.fault(u)
	if u.Done {
		l.finish(about, u.Verdict)
	}
	return about, began
}

func (a *lane) fault(u Update) {
	if u.Fault == "" {
		return
	}
	if u.Evidence == "" {
		a.active = append(a.active, u.Fault)
		return
	}
	if u.Bit {
		a.bitten++
	}
	for i, name := range a.active {
		if name == u.Fault {
			a.active = append(a.active[:i:i], a.active[i+1:]...)
			return
		}
	}
}

func (l *lanes) finish(done *lane, verdict check.Verdict) {
	switch verdict {
	case check.Pass:
		l.passed++
	case check.Fail:
		l.failed++
	default:
		l.unknown++
	}
	for i, known := range l.running {
		if known == done {
			l.running = append(l.running[:i:i], l.running[i+1:]...)
			return
		}
	}
}

// summary counts the scenarios: "2 running, 5 passed, 1 failed".
func (l *lanes) summary() string {
	text := fmt.Sprintf("%d running, %d passed", len(l.running), l.passed)
	if l.failed > 0 {
		text += fmt.Sprintf(", %d failed", l.failed)
	}
	if l.unknown > 0 {
		text += fmt.Sprintf(", %d unknown", l.unknown)
	}
	return text
}

// orders says how far a scenario's workload is.
func (a *lane) orders() string {
	return fmt.Sprintf("%d/%d acknowledged", a.acknowledged, a.operations)
}
