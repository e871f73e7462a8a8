package check

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

func TestWithoutEvidenceTheVerdictIsUnknown(t *testing.T) {
	fails := func(name, subject string) func([]history.Event) []history.Event {
		return func(events []history.Event) []history.Event {
			return edited(events, probed(name, subject), func(e *history.Event) { e.Probe.OK = false })
		}
	}
	lacks := func(is match) func([]history.Event) []history.Event {
		return func(events []history.Event) []history.Event { return without(events, is) }
	}
	fault := func(stage string) match {
		return func(e history.Event) bool { return e.Fault != nil && e.Fault.Stage == stage }
	}
	cases := map[string]struct {
		condition Guarantee
		change    func([]history.Event) []history.Event
		reason    string
	}{
		"a connection round its link": {noBypass, fails(history.ProbeBypass, "postgres"), "went round"},
		"peers never compared":        {noBypass, lacks(probed(history.ProbeBypass, "")), "no server"},
		"a table that differs":        {completeObservation, fails(history.ProbeTable, "stock.stock"), "stock.stock"},
		"a tap that missed something": {completeObservation, fails(history.ProbeTap, "wal/orders"), "wal/orders"},
		"a partition not read whole":  {completeObservation, fails(history.ProbeTopic, "order-events/"), "order-events"},
		"a database never compared":   {completeObservation, lacks(probed(history.ProbeTable, "stock.")), "no table probe of stock"},
		"a topic never compared":      {completeObservation, lacks(probed(history.ProbeTopic, "order-events")), "no topic probe of order-events"},
		"taps that say nothing":       {completeObservation, lacks(probed(history.ProbeTap, "")), "no tap"},
		"an experiment that broke off": {carriedOut, lacks(func(e history.Event) bool {
			return e.Phase != nil && e.Phase.Name == history.End
		}), "before the experiment does"},
		"an experiment that went wrong": {carriedOut, func(events []history.Event) []history.Event {
			return append(events, history.Event{Probe: &history.Probe{Name: history.ProbeHarness, Detail: "inject latency: no such link\nmore"}})
		}, "no such link"},
		"a server that ended by itself": {completeObservation, func(events []history.Event) []history.Event {
			return append(events, history.Event{Process: &history.Process{Name: "kafka-1", State: history.Exited, Code: 2, Unasked: true}})
		}, "kafka-1 exited by itself with code 2"},
		"a fault without evidence": {faultsBit, lacks(fault(history.Observed)), "never bit"},
		"a fault that never began": {faultsBit, lacks(fault(history.Injected)), "never injected"},
		"a fault that stayed": {faultsBit, func(events []history.Event) []history.Event {
			return edited(events, fault(history.Healed), func(e *history.Event) { e.Fault.Error = "port taken" })
		}, "not healed: port taken"},
		"nothing acknowledged": {workAcknowledged, lacks(func(e history.Event) bool { return e.Op != nil }), "no client"},
		"an idle baseline":     {baselineAcknowledged, lacks(completed(history.Place, "order-1")), "before the first fault"},
		"rows that came back in order": {completeObservation, func(events []history.Event) []history.Event {
			return append(events, history.Event{Row: &history.Row{Database: "stock", Table: "other", LSN: 1, Action: "insert"}})
		}, "LSN"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			judgement := judge(t, c.change(cleanHistory()))
			result, ok := judgement.Result(c.condition.Name)
			require.True(t, ok)
			require.Equal(t, "I19", result.ID)
			require.Equal(t, Unknown, result.Verdict)
			require.False(t, result.Skipped)
			require.Contains(t, result.Reason, c.reason)
			require.Equal(t, Unknown, judgement.Verdict)
			require.NotEmpty(t, judgement.Reasons)
		})
	}
}

func TestRequiredGuaranteesMustHaveExaminedSomething(t *testing.T) {
	view := build(t, story(func(*world) {}))
	require.Equal(t, Pass, Judge(view, OrderAndStock).Verdict)
	skipped, _ := Judge(view, OrderAndStock).Result("dead-letters-complete")
	require.True(t, skipped.Skipped)
	require.Equal(t, Unknown, skipped.Verdict)

	for _, name := range []string{"dead-letters-complete", "duplicates", "no-such-guarantee"} {
		view.Header.Exercises = []string{name}
		judgement := Judge(view, OrderAndStock)
		require.Equal(t, Unknown, judgement.Verdict, name)
		require.Contains(t, judgement.Reasons[0], name)
	}
}

func TestACrashedCheckerIsUnknown(t *testing.T) {
	crash := Guarantee{Name: "crash", Check: func(*View) Finding { panic("index out of range") }}
	judgement := Judge(build(t, cleanHistory()), []Guarantee{stockNeverNegative, crash})
	require.Equal(t, Unknown, judgement.Verdict)
	result, _ := judgement.Result("crash")
	require.Contains(t, result.Reason, "index out of range")

	judgement = Judge(build(t, bugs()[0].history()), []Guarantee{crash, stockNeverNegative})
	require.Equal(t, Fail, judgement.Verdict, "a violation is certain whatever else crashed")
}

func TestIncompleteObservationOnlySuspects(t *testing.T) {
	for _, bug := range bugs() {
		blind := edited(bug.history(), probed(history.ProbeTable, "orders.orders"), func(e *history.Event) { e.Probe.OK = false })
		judgement := Judge(build(t, blind), promised(bug.name))
		certain := false
		for _, kind := range Kinds {
			if kind.Name == bug.name {
				certain = !kind.Absence
			}
		}
		if certain {
			require.Equal(t, Fail, judgement.Verdict, bug.name)
			require.Contains(t, names(judgement), bug.name)
			continue
		}
		require.NotContains(t, names(judgement), bug.name)
		require.NotEqual(t, Pass, judgement.Verdict, bug.name)
	}
}

// Liveness is judged only of a system at rest; what is merely late is unknown.
func TestAnUnfinishedDrainIsUnknown(t *testing.T) {
	drains := map[string]func(*history.Probe){
		"still moving": func(p *history.Probe) { p.Detail = "deadline; orders pending: 1" },
		"starved":      func(p *history.Probe) { p.Detail, p.Numbers["starved"] = "stuck", 1 },
	}
	late := map[string]bool{MissingDeduction: true, LeakedReservation: true, LostEvent: true, DeadLetterLoss: true}
	for _, bug := range bugs() {
		if !late[bug.name] && !strings.HasPrefix(bug.name, "stuck-") {
			continue
		}
		for name, change := range drains {
			t.Run(bug.name+" "+name, func(t *testing.T) {
				judgement := judge(t, edited(bug.history(), probed(history.ProbeQuiescent, ""), func(e *history.Event) {
					e.Probe.OK = false
					e.Probe.Numbers["idle_ms"] = 40
					change(e.Probe)
				}))
				require.Empty(t, names(judgement))
				require.Equal(t, Unknown, judgement.Verdict)
			})
		}
		t.Run(bug.name+" unsaid", func(t *testing.T) {
			judgement := judge(t, without(bug.history(), probed(history.ProbeQuiescent, "")))
			require.Empty(t, names(judgement))
			require.Equal(t, Unknown, judgement.Verdict)
		})
	}
}

func TestVerdict(t *testing.T) {
	var zero Verdict
	require.Equal(t, Unknown, zero)
	require.Equal(t, Unknown, Judgement{}.Verdict)
	for _, verdict := range []Verdict{Unknown, Pass, Fail} {
		text, err := json.Marshal(verdict)
		require.NoError(t, err)
		require.Equal(t, `"`+verdict.String()+`"`, string(text))
		var back Verdict
		require.NoError(t, json.Unmarshal(text, &back))
		require.Equal(t, verdict, back)
		require.Equal(t, Fail, Worse(verdict, Fail))
		require.Equal(t, verdict, Worse(verdict, Pass))
	}
	require.Equal(t, Unknown, Worse(Pass, Unknown))
	require.Error(t, new(Verdict).UnmarshalText([]byte("skipped")))
	require.Equal(t, "verdict(7)", Verdict(7).String())
}

func TestEveryPlannedFaultMustBeInjected(t *testing.T) {
	const down = "down on order->kafka-1" // the fault of the clean history
	cases := map[string]struct {
		planned []string
		verdict Verdict
		reason  string
	}{
		"none planned":     {nil, Pass, ""},
		"the one injected": {[]string{down}, Pass, ""},
		"another one":      {[]string{down, "kill on stock"}, Unknown, "1 of 2 planned faults were never injected: kill on stock"},
		"the same twice":   {[]string{down, down}, Unknown, "1 of 2 planned faults were never injected: " + down},
		"only another":     {[]string{"kill on stock"}, Unknown, "1 of 1 planned fault was never injected: kill on stock"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			view := build(t, cleanHistory())
			view.Header.Faults = c.planned
			judgement := Judge(view, OrderAndStock)
			result, _ := judgement.Result("faults-bit")
			require.Equal(t, c.verdict, result.Verdict)
			require.Equal(t, c.reason, result.Reason)
			require.Equal(t, c.verdict, judgement.Verdict)
		})
	}
}

func TestAnExperimentWithoutTroubleIsCarriedOut(t *testing.T) {
	judgement := judge(t, append(cleanHistory(), history.Event{Probe: &history.Probe{Name: history.ProbeHarness, OK: true}}))
	require.Equal(t, Pass, judgement.Verdict, "%v", judgement.Reasons)
}

// A drain that did not end quiescent is never a pass, whatever the checks find.
func TestARestlessDrainNeverPasses(t *testing.T) {
	for _, how := range []string{"stuck; messages in flight: 1", "deadline; messages in flight: 1", ""} {
		judgement := judge(t, edited(cleanHistory(), probed(history.ProbeQuiescent, ""), func(e *history.Event) {
			e.Probe.OK, e.Probe.Detail = false, how
		}))
		result, _ := judgement.Result("converges")
		require.Empty(t, judgement.Anomalies())
		require.Equal(t, Unknown, result.Verdict)
		require.Contains(t, result.Reason, how)
		require.Equal(t, Unknown, judgement.Verdict)
	}
	judgement := judge(t, without(cleanHistory(), probed(history.ProbeQuiescent, "")))
	require.Empty(t, judgement.Anomalies())
	require.Equal(t, Unknown, judgement.Verdict)
	require.Contains(t, judgement.Reasons[0], "converges: the history does not say")
}

// An answer that did not come proves nothing where the client had no time to wait for it.
func TestAHurriedRecoveryIsUnknown(t *testing.T) {
	changes := map[string]func([]history.Event) []history.Event{
		"starved": func(events []history.Event) []history.Event {
			return edited(events, probed(history.ProbeQuiescent, ""), func(e *history.Event) { e.Probe.Numbers["starved"] = 1 })
		},
		"cut short": func(events []history.Event) []history.Event {
			return without(events, func(e history.Event) bool { return e.Phase != nil && e.Phase.Name == history.End })
		},
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			for _, bug := range serviceBugs() {
				if bug.name != NotRecovered {
					continue
				}
				judgement := judge(t, change(bug.history()))
				result, _ := judgement.Result("serves-again")
				require.Empty(t, judgement.Anomalies())
				require.Equal(t, Unknown, result.Verdict)
				require.Contains(t, result.Reason, "1 fresh order was not acknowledged, but ")
			}
		})
	}
}

func TestAServiceThatCrashesLeavesTheObservationWhole(t *testing.T) {
	for _, bug := range serviceBugs() {
		judgement := judge(t, bug.history())
		result, _ := judgement.Result("complete-observation")
		require.Equal(t, Pass, result.Verdict, "%s: %s", bug.name, result.Reason)
	}
}

func TestEachConsumedRecordIsJudgedAtItsFirstOffset(t *testing.T) {
	twice := func(w *world) {
		p := buy(9, line("sku-2", 1000))
		placed := w.place(p)
		w.publish(placed)
		w.advance(receipt("stock", placed, Applied))
		stale := placed.at
		stale.Offset = 0
		w.advance(receipt("stock", &signal{at: stale}, Applied)) // of a replica that was away
		w.advance(receipt("stock", placed, Applied))
		rejected := w.reject(placed)
		w.publish(rejected)
		cancelled := w.decide(p, Cancelled, rejected)
		w.publish(cancelled)
		w.ignore("stock", cancelled)
	}
	result, _ := judge(t, story(twice)).Result("offset-after-effects")
	require.Len(t, result.Anomalies, 1)
	require.Equal(t, 6, result.Examined, "three records of each order")
}
