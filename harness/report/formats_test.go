package report

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/harness/check"
)

// The shape that the issue promises: these names at these places, and lists that are never null.
func TestJSONShape(t *testing.T) {
	for name, run := range map[string]Run{"full": fixture(), "bare": {Scenarios: []Scenario{{}}}} {
		t.Run(name, func(t *testing.T) {
			var top map[string]json.RawMessage
			require.NoError(t, json.Unmarshal([]byte(written(t, WriteJSON, run)), &top))
			hasNames(t, top, "verdict", "seed", "backend", "left_out", "notes", "scenarios")
			for _, s := range objects(t, top["scenarios"]) {
				hasNames(t, s, "name", "design", "verdict", "seconds", "operations", "acknowledged", "guarantees", "anomalies", "faults")
				for _, g := range objects(t, s["guarantees"]) {
					hasNames(t, g, "name", "verdict", "examined")
				}
				for _, a := range objects(t, s["anomalies"]) {
					hasNames(t, a, "name", "subject", "detail")
				}
				for _, f := range objects(t, s["faults"]) {
					hasNames(t, f, "name", "link", "injected_ms", "healed_ms", "evidence")
				}
			}
		})
	}
}

func hasNames(t *testing.T, object map[string]json.RawMessage, names ...string) {
	t.Helper()
	for _, name := range names {
		require.Contains(t, object, name)
		require.NotEqual(t, "null", string(object[name]), name)
	}
}

func objects(t *testing.T, raw json.RawMessage) []map[string]json.RawMessage {
	t.Helper()
	var list []map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(raw, &list))
	return list
}

func TestJSONValues(t *testing.T) {
	var run jsonRun
	require.NoError(t, json.Unmarshal([]byte(written(t, WriteJSON, fixture())), &run))
	require.Equal(t, "fail", run.Verdict)
	require.Equal(t, uint64(42), run.Seed)
	fault := run.Scenarios[0].Faults[0]
	require.Equal(t, jsonFault{
		Name: "down", Link: "order->kafka-1", InjectedMS: 2003, HealedMS: 5011, Bit: true,
		Evidence: "41 connections refused, 3 reset, 0 of 18211 offered bytes delivered",
	}, fault)
	require.True(t, run.Scenarios[0].Guarantees[2].Skipped)
	require.Equal(t, 1209.4, run.Scenarios[1].Anomalies[0].Story[1].AtMS)

	run2 := Run{Seconds: math.NaN(), Scenarios: []Scenario{{Seconds: math.Inf(1)}}}
	require.Contains(t, written(t, WriteJSON, run2), `"verdict": "unknown"`)
}

// parsed JUnit, as a CI server reads it.
func parseJUnit(t *testing.T, run Run) junitRun {
	t.Helper()
	var back junitRun
	require.NoError(t, xml.Unmarshal([]byte(written(t, WriteJUnit, run)), &back))
	return back
}

func TestJUnitSaysWhatHappened(t *testing.T) {
	run := parseJUnit(t, fixture())
	require.Equal(t, []int{14, 1, 3, 3}, []int{run.Tests, run.Failures, run.Errors, run.Skipped})
	require.Len(t, run.Suites, 6)

	pass := run.Suites[0]
	require.Equal(t, "broker-outage (outbox)", pass.Name)
	require.Nil(t, pass.Cases[1].Failure)
	require.Nil(t, pass.Cases[1].Error)
	require.NotNil(t, pass.Cases[2].Skipped, "not exercised")

	broke := run.Suites[1].Cases[1]
	require.Equal(t, "redelivery (outbox, without inbox-dedup): I7 effects-at-most-once", broke.Name)
	require.Equal(t, "double-effect", broke.Failure.Type)
	for _, part := range []string{"double-effect", "order 7f3a-0042", "and 1 more", "repeat: ordeal run redelivery --seed 42 --without inbox-dedup"} {
		require.Contains(t, broke.Failure.Message, part)
	}
	for _, part := range []string{"order 7f3a-0057", "+3.466s", "repeat: ordeal run redelivery"} {
		require.Contains(t, broke.Failure.Text, part)
	}

	unknown := run.Suites[2].Cases[0]
	require.Nil(t, unknown.Skipped, "unknown is never skipped: viewers show that green")
	require.Contains(t, unknown.Error.Message, "0 messages crossed the link")
	require.Contains(t, unknown.Error.Message, "repeat: ordeal run idle-link --seed 42")

	left := run.Suites[4].Cases[0]
	require.Equal(t, "leader-killed: the run is conclusive", left.Name)
	require.Equal(t, "left out: it needs --backend containers --brokers 3", left.Skipped.Message)

	harness := run.Suites[3].Cases[0]
	require.Equal(t, "harness", harness.Error.Type)
	require.Contains(t, harness.Error.Text, "address already in use")
}

// A run without all its results is never green, whatever it has.
func TestJUnitOfAnIncompleteRun(t *testing.T) {
	require.Equal(t, 1, parseJUnit(t, Run{}).Errors)
	interrupted := Run{Verdict: check.Unknown, Interrupted: true, Scenarios: []Scenario{passing()}}
	run := parseJUnit(t, interrupted)
	require.Equal(t, 1, run.Errors)
	require.Contains(t, run.Suites[1].Cases[0].Error.Message, "interrupted")
}

// Unknown without a reason is an error still, in every report.
func TestUnknownWithoutAReason(t *testing.T) {
	run := Run{Scenarios: []Scenario{{Name: "bare"}}}
	require.Equal(t, 1, parseJUnit(t, run).Errors)
	require.Contains(t, Tell(run.Scenarios[0]), "unknown: no reason was recorded")
}

func TestMarkdownFitsAJobSummary(t *testing.T) {
	run := fixture()
	long := strings.Repeat("<&>", 300)
	for i := range 40 {
		s := failing()
		s.Name = fmt.Sprintf("scenario-%d", i)
		s.Error = strings.Repeat(long+"\n", 50)
		for range 30 {
			s.Anomalies = append(s.Anomalies, Anomaly{Name: "oversell", Subject: long, Detail: long})
		}
		for range 20 {
			s.Faults = append(s.Faults, Fault{Name: long, Link: long, Evidence: long})
		}
		run.Scenarios = append(run.Scenarios, s)
	}
	text := written(t, WriteMarkdown, run)
	require.Less(t, len(text), 1<<20)
	require.Greater(t, len(text), 500<<10, "the room is used")
	require.Contains(t, text, "More did not fit here")
	require.Contains(t, text, "double-effect in redelivery", "the worst story comes before what did not fit")
	require.Zero(t, strings.Count(text, "\n```")%2, "every fence is closed")
}

// No line of the text may end the block that shows it.
func TestFence(t *testing.T) {
	require.Equal(t, "```text\na `b` c\n```\n", fence([]string{"a `b` c"}))
	require.Equal(t, "`````text\n````\n# no heading\n`````\n", fence([]string{"````", "# no heading"}))
	require.Contains(t, fence(make([]string, 1000)), "\n… 600 more lines\n```\n")
}

func TestMarkdownTellsTheWorst(t *testing.T) {
	worse := failing()
	worse.Name = "worse"
	worse.Guarantees[2].Verdict = check.Fail
	run := Run{Verdict: check.Fail, Scenarios: []Scenario{failing(), worse, passing()}}
	require.Contains(t, written(t, WriteMarkdown, run), "## Worst violation: double-effect in worse (")

	require.NotContains(t, written(t, WriteMarkdown, Run{Verdict: check.Pass, Scenarios: []Scenario{passing()}}), "Worst")
}

func TestTellIsSilentWhenAllIsWell(t *testing.T) {
	require.Empty(t, Tell(passing()))
}

// Of many violations of one kind three are told, and the rest are one line.
func TestTellManyViolations(t *testing.T) {
	s := failing() // with two anomalies of its own, both told
	for i := range 500 {
		for line := range 2 {
			s.Anomalies = append(s.Anomalies, Anomaly{
				Name: "oversell", Guarantee: "effects-at-most-once", Subject: fmt.Sprintf("sku sku-%03d", i), Detail: fmt.Sprintf("line %d", line),
			})
		}
	}
	text := Tell(s)
	require.Equal(t, 2, strings.Count(text, "✗ double-effect"))
	require.Equal(t, 3, strings.Count(text, "✗ oversell"))
	require.Contains(t, text, "oversell  sku sku-002\n    breaks")
	const more = "and 997 more oversell on the same 3 SKUs and 497 others: sku-003, sku-004, sku-005, sku-006, sku-007, sku-008, sku-009, sku-010, sku-011, … (all in report.json)"
	require.Contains(t, text, "  ✗ "+more+"\n")
	require.NotContains(t, text, "more double-effect")
	require.NotContains(t, text, "sku-012")

	run := Run{Scenarios: []Scenario{s}}
	require.Contains(t, written(t, WriteMarkdown, run), "| … | | | "+more+" |\n")
	require.Contains(t, parseJUnit(t, run).Suites[0].Cases[1].Failure.Text, "\n"+more+"\n")
}

// What is not told is counted by anomaly and by subject, and no subject that was told is listed again.
func TestMore(t *testing.T) {
	tests := map[string]struct {
		subjects []string
		want     string
	}{
		"others only":    {[]string{"order 1", "order 2", "order 3", "order 4", "order 5", "order 5"}, "and 3 more x on 2 orders: 4, 5"},
		"one other":      {[]string{"sku 1", "sku 2", "sku 3", "sku 4"}, "and 1 more x on 1 SKU: 4"},
		"the same only":  {[]string{"sku 1", "sku 1", "sku 1"}, "and 2 more x on the same SKU"},
		"two the same":   {[]string{"key 1", "key 2", "key 1", "key 2", "key 2"}, "and 3 more x on the same 2 keys"},
		"both":           {[]string{"event 1", "event 2", "event 3", "event 1", "event 4"}, "and 2 more x on the same event and 1 other: 4"},
		"different ones": {[]string{"order 1", "sku 2", "key 3", "order 4", "sku 5"}, "and 2 more x on 2 subjects: 4, 5"},
		"no kind":        {[]string{"t/0", "t/1", "t/2", "t/3"}, "and 1 more x on 1 subject: t/3"},
		"irregular":      {[]string{"process 1", "process 2", "process 3", "process 4", "process 5"}, "and 2 more x on 2 processes: 4, 5"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			anomalies := each(test.subjects, func(subject string) Anomaly { return Anomaly{Name: "x", Subject: subject} })
			require.Equal(t, test.want+" (all in report.json)", byName(anomalies)[0].more())
		})
	}
}

// A system that did not start is not a failure of the harness, and leaves nothing else to say.
func TestTellOfASystemThatDidNotStart(t *testing.T) {
	s := broken()
	s.NotStarted, s.Reasons = true, []string{"faults-bit: nothing to examine"}
	require.Contains(t, Tell(s), "  ! the system did not start\n    start service stock")
	require.Contains(t, Tell(s), "exit status 1\n  repeat:")
	run := Run{Scenarios: []Scenario{s}}
	require.Contains(t, written(t, WriteHTML, run), "<h3>The system did not start</h3>")
	require.Contains(t, written(t, WriteMarkdown, run), "\nthe system did not start:\n")
	require.Equal(t, "0 of 1 scenario passed, 1 could not be judged (the system of 1 did not start)", run.headline())
	require.Equal(t, "system", parseJUnit(t, run).Suites[0].Cases[0].Error.Type)
	for _, write := range []func(io.Writer, Run) error{WriteHTML, WriteMarkdown, WriteJUnit} {
		require.NotContains(t, written(t, write, run), "harness failed")
	}
}

// What cannot be judged because the harness failed would bury the failure.
func TestTellOfABrokenHarness(t *testing.T) {
	s := broken()
	for i := range 20 {
		s.Reasons = append(s.Reasons, fmt.Sprintf("guarantee-%d: nothing to examine", i))
	}
	require.NotContains(t, Tell(s), "unknown:", "it never began")
	s.Operations = 60
	require.Contains(t, Tell(s), "exit status 1\n  ? unknown: see report.json for 20 reasons that came of it\n  repeat:")
	s.Error = ""
	require.Contains(t, Tell(s), "unknown: guarantee-19: nothing to examine")
}

func TestTellOfAnInterruption(t *testing.T) {
	s := inconclusive()
	s.Interrupted = true
	require.Equal(t, "idle-link (outbox)\n  ? unknown: interrupted before its end\n  repeat: ordeal run idle-link --seed 42\n", Tell(s))
}

func TestTelling(t *testing.T) {
	var anomalies []Anomaly
	for _, about := range []string{"a 1", "a 1", "b 1", "a 2", "a 3", "a 4", "b 1", "a 3"} {
		name, subject, _ := strings.Cut(about, " ")
		anomalies = append(anomalies, Anomaly{Name: name, Subject: subject})
	}
	require.Equal(t, []int{0, 2, 3, 4}, Telling(anomalies))
	require.Empty(t, Telling(nil))
}

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"order 42 → ✓ é 🧨":  "order 42 → ✓ é 🧨",
		"\x1b[2J":           `\x1b[2J`,
		"a\nb\tc\x00":       `a\nb\tc\x00`,
		"\u202egnp.exe":     `\u202egnp.exe`,
		"bad \xff byte":     `bad \xff byte`,
		"real \ufffd stays": "real \ufffd stays",
		"line\u2028sep":     `line\u2028sep`,
		"zero\u200bwidth":   `zero\u200bwidth`,
	} {
		require.Equal(t, want, plain(in))
	}
}

func TestHeadline(t *testing.T) {
	require.Equal(t, "no scenario ran", Run{}.headline())
	require.Equal(t, "1 scenario kept every guarantee", Run{Scenarios: []Scenario{passing()}}.headline())
	require.Equal(t, "0 of 1 scenario passed, 1 could not be judged; interrupted before the end",
		Run{Interrupted: true, Scenarios: []Scenario{inconclusive()}}.headline())
}

// What a run could not do is said in every report for people.
func TestLeftOut(t *testing.T) {
	one := LeftOut{Needs: "--brokers 3", Scenarios: []string{"leader-killed"}}
	require.Equal(t, "1 scenario was left out: it needs --brokers 3", one.String())
	for name, write := range map[string]func(io.Writer, Run) error{
		"terminal": func(w io.Writer, run Run) error { return WriteTerminal(w, run, false) },
		"markdown": WriteMarkdown, "html": WriteHTML,
	} {
		text := written(t, write, fixture())
		require.Contains(t, text, "2 scenarios were left out: they need --backend containers --brokers 3", name)
		require.Contains(t, strings.ToLower(text), "no scenario of this run exposes the lack of acks-all", name)
	}
}
