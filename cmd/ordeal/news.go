package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/check"
	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/report"
)

// shown is the harness's news in the words of the progress display.
func shown(u harness.Update) report.Update {
	update := report.Update{Scenario: u.Scenario, Phase: u.Phase, Operations: u.Operations, Acknowledged: u.Acknowledged}
	if u.Fault != nil && u.Fault.Stage != history.Healed {
		update.Fault, update.Evidence = harness.FaultUpdate(*u.Fault)
		update.Bit = u.Fault.Bit
	}
	if r := u.Result; r != nil {
		update.Done, update.Verdict = true, r.Verdict
		switch {
		case r.Verdict == check.Fail:
			update.Reason = strings.Join(r.Anomalies(), ", ")
		case r.Interrupted:
			update.Reason = "interrupted"
		case r.Error != nil:
			update.Reason = firstLine(r.Error.Error()) // all of it comes with the results
		default:
			update.Reason = strings.Join(r.Judgement.Reasons, "; ")
		}
	}
	return update
}

func firstLine(text string) string {
	line, rest, _ := strings.Cut(text, "\n")
	if rest != "" {
		line += " …"
	}
	return line
}

// keep holds a scenario's stack up until the run is interrupted. It tells the story at once: the report
// is written when the run ends.
func keep(progress report.Progress) func(context.Context, harness.Result, []string) {
	return func(ctx context.Context, result harness.Result, addresses []string) {
		lines := strings.Split(strings.TrimRight(report.Tell(result.Report()), "\n"), "\n")
		lines = append(lines, fmt.Sprintf("kept the stack of %s up; Ctrl-C ends it", result.Scenario.Name))
		for _, address := range addresses {
			lines = append(lines, "  "+address)
		}
		for _, line := range lines {
			progress.Update(report.Update{Note: line})
		}
		<-ctx.Done()
	}
}
