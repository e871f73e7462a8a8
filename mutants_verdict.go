package ordeal

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/check"
	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/services"
)

// MutantVerdict is what became of a planted bug.
type MutantVerdict string

// The verdicts on planted bugs.
const (
	Killed       MutantVerdict = "KILLED"        // a predicted anomaly was named, and without the bug there was none
	Survived     MutantVerdict = "SURVIVED"      // the run with the bug passed
	WrongAnomaly MutantVerdict = "WRONG-ANOMALY" // it failed, with none of the predicted anomalies
	Stale        MutantVerdict = "STALE"         // the bug's code never ran
	FalseAlarm   MutantVerdict = "FALSE-ALARM"   // the run without the bug failed
	NotKnown     MutantVerdict = "UNKNOWN"       // one of the runs proved nothing
	Unplantable  MutantVerdict = "UNPLANTABLE"   // this architecture cannot have the bug
	LeftOut      MutantVerdict = "LEFT OUT"      // it needs three brokers, and there are fewer
)

// MutantVerdicts are all of them.
var MutantVerdicts = []MutantVerdict{Killed, Survived, WrongAnomaly, Stale, FalseAlarm, NotKnown, Unplantable, LeftOut}

// MutantRun is what one run showed: of the mutant, or of its scenario without the bug. The zero value is unknown.
type MutantRun struct {
	Verdict   check.Verdict
	Anomalies []string // their names, the most telling first
	Reason    string   // why the verdict is unknown
	Reached   bool     // the bug's code ran
	// Seconds from the start of the run until it was judged, and until then from its first fault; -1 without a fault.
	Seconds, SinceFault float64
}

// ObserveMutant takes from a run of a mutant's scenario what its verdict rests on.
func ObserveMutant(m Mutant, result harness.Result) MutantRun {
	run := MutantRun{
		Verdict: result.Verdict, Anomalies: result.Anomalies(), Seconds: result.Judged.Seconds(), SinceFault: -1,
		Reason: strings.Join(result.Judgement.Reasons, "; "),
	}
	if result.Error != nil {
		run.Reason = strings.Join(strings.Fields(result.Error.Error()), " ")
	}
	if m.Without != "" {
		reached, err := GuardReached(result.Dir, m.Without)
		if err != nil && run.Verdict != check.Unknown {
			run.Verdict, run.Reason = check.Unknown, err.Error()
		}
		run.Reached = reached
	} else {
		run.Reached = result.Acknowledged > 0
	}
	if result.View != nil {
		run.SinceFault = sinceFault(result.View)
	}
	return run
}

// sinceFault is from the first fault of a run to its end, in seconds; -1 without a fault.
func sinceFault(view *check.View) float64 {
	i := slices.IndexFunc(view.Faults, func(f check.Fault) bool { return f.Stage == history.Injected })
	if i < 0 || len(view.Phases) == 0 {
		return -1
	}
	return (view.Phases[len(view.Phases)-1].At - view.Faults[i].At).Seconds()
}

// GuardReached says whether a service of the run in dir said that it came to where the removed guard would have acted.
func GuardReached(dir, guard string) (bool, error) {
	logs, err := filepath.Glob(filepath.Join(dir, "logs", "*.log"))
	if err == nil && len(logs) == 0 {
		err = errors.New("there are none")
	}
	if err != nil {
		return false, fmt.Errorf("read logs of %s: %w", dir, err)
	}
	for _, path := range logs {
		if found, err := says(path, guard); found || err != nil {
			return found, err
		}
	}
	return false, nil
}

// says reports whether a log has the line about the guard. Of a line that is longer than the buffer, the parts are looked at.
func says(path, guard string) (bool, error) {
	file, err := os.Open(path)
	if err != nil {
		return false, fmt.Errorf("read log: %w", err)
	}
	defer file.Close()
	reader := bufio.NewReader(file)
	for {
		line, err := reader.ReadSlice('\n')
		text := string(line)
		if strings.Contains(text, services.GuardMissing) && slices.Contains(strings.Fields(text), "guard="+guard) {
			return true, nil
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return false, nil // the end
		}
	}
}

// JudgeMutant gives the verdict on a planted bug from the run with it and the one without, and why, in one sentence.
func JudgeMutant(m Mutant, planted, sound MutantRun) (MutantVerdict, string) {
	named := func(r MutantRun) string { return strings.Join(r.Anomalies, ", ") }
	switch {
	case sound.Verdict == check.Fail:
		return FalseAlarm, "without the bug: " + named(sound)
	case planted.Verdict == check.Unknown:
		return NotKnown, "with the bug: " + planted.Reason
	case !planted.Reached && m.Without != "":
		return Stale, fmt.Sprintf("no service came to where %s would have acted%s", m.Without, prefixed("; yet there was ", named(planted)))
	case !planted.Reached:
		return Stale, "nothing was acknowledged"
	case planted.Verdict == check.Pass:
		return Survived, "every guarantee was kept; predicted: " + strings.Join(m.Predicts, " or ")
	case !slices.ContainsFunc(m.Predicts, func(name string) bool { return slices.Contains(planted.Anomalies, name) }):
		return WrongAnomaly, fmt.Sprintf("%s; predicted: %s", named(planted), strings.Join(m.Predicts, " or "))
	case sound.Verdict != check.Pass:
		return NotKnown, "without the bug: " + sound.Reason
	}
	// What was predicted goes first.
	anomalies := slices.Clone(planted.Anomalies)
	slices.SortStableFunc(anomalies, func(a, b string) int {
		switch x, y := slices.Contains(m.Predicts, a), slices.Contains(m.Predicts, b); {
		case x && !y:
			return -1
		case y && !x:
			return 1
		}
		return 0
	})
	return Killed, strings.Join(anomalies, ", ")
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

// KillRate is the least share of the repeats in which a bug must be killed to count as killed.
const KillRate = 0.95

// SumUp is the verdict on several repeats, and how many killed: killed if nearly all did and none was a false alarm; else
// what was seen most often besides.
func SumUp(verdicts []MutantVerdict) (verdict MutantVerdict, killed int) {
	count := map[MutantVerdict]int{}
	for _, v := range verdicts {
		count[v]++
	}
	killed = count[Killed]
	switch {
	case len(verdicts) == 0:
		return NotKnown, 0
	case count[FalseAlarm] > 0:
		return FalseAlarm, killed
	case float64(killed) >= KillRate*float64(len(verdicts)):
		return Killed, killed
	}
	for _, v := range MutantVerdicts {
		if v != Killed && (verdict == "" || count[v] > count[verdict]) {
			verdict = v
		}
	}
	return verdict, killed
}
