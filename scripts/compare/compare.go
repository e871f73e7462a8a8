package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Counts of subjects depend on timing: traffic goes on for as long as a fault lasts, and a real broker is down for
// longer. They differ when one side examined nothing, because nothing is proven there, or when both the counts and
// the counts by acknowledged operation are so far apart that the two cannot have looked at the same things.
const (
	mostRatio = 3
	// few is a count at which a ratio says nothing.
	few = 10
)

// report is what is read of a backend's report.json.
type report struct {
	Backend   string     `json:"backend"`
	Scenarios []scenario `json:"scenarios"`
}

type scenario struct {
	Name         string      `json:"name"`
	Without      []string    `json:"without"`
	Verdict      string      `json:"verdict"`
	Acknowledged int         `json:"acknowledged"` // operations
	Guarantees   []guarantee `json:"guarantees"`
	Anomalies    []struct {
		Name string `json:"name"`
	} `json:"anomalies"`
	Reasons []string `json:"reasons"`
	Error   string   `json:"error"`
}

type guarantee struct {
	Name     string `json:"name"`
	Verdict  string `json:"verdict"`
	Examined int    `json:"examined"`
	Skipped  bool   `json:"skipped"`
}

// names are the names of the anomalies found, sorted.
func (s scenario) names() []string {
	names := make(map[string]bool)
	for _, anomaly := range s.Anomalies {
		names[anomaly.Name] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// cell is one scenario of the sound design, or without one guard.
type cell struct{ scenario, without string }

// difference is one thing in which two backends differ in a cell.
type difference struct {
	cell
	what   string // "scenario", "verdict", "anomaly NAME", "guarantee NAME", "predicted NAME|NAME"
	detail string
}

// results are the scenarios of one backend, by cell.
type results map[cell]scenario

// Compare returns in what two backends differ:
//
//   - a scenario that only one of them ran;
//   - the verdict of a scenario, and one that is unknown on both, because it shows nothing;
//   - every anomaly that only one of them named;
//   - every guarantee whose verdict differs, that was examined on one of them only, or whose counts are more
//     than a factor of three apart, by acknowledged operation too, where the larger is 10 or more;
//   - every removed guard for which a backend named none of the predicted anomalies.
func Compare(a, b results, predicted map[string]removal, backends [2]string) []difference {
	var found []difference
	for _, at := range cells(a, b) {
		one, inA := a[at]
		two, inB := b[at]
		add := func(what, format string, args ...any) {
			found = append(found, difference{at, what, fmt.Sprintf(format, args...)})
		}
		if !inA || !inB {
			add("scenario", "only %s ran it", backends[map[bool]int{true: 0, false: 1}[inA]])
			continue
		}
		if one.Verdict != two.Verdict || one.Verdict == "unknown" {
			add("verdict", "%s and %s%s", one.Verdict, two.Verdict, because(one, two))
		}
		for _, name := range union(one.names(), two.names()) {
			if inOne := slices.Contains(one.names(), name); inOne != slices.Contains(two.names(), name) {
				add("anomaly "+name, "only %s named it", backends[map[bool]int{true: 0, false: 1}[inOne]])
			}
		}
		for _, name := range union(guarantees(one), guarantees(two)) {
			if detail := differ(one, two, name); detail != "" {
				add("guarantee "+name, "%s", detail)
			}
		}
	}
	return append(found, unpredicted([2]results{a, b}, predicted, backends)...)
}

// differ says in words how what two backends say of a guarantee differs, "" when it does not.
func differ(one, two scenario, name string) string {
	a, b := one.guarantee(name), two.guarantee(name)
	many := max(a.Examined, b.Examined) >= few
	if (a.Examined == 0) != (b.Examined == 0) ||
		many && apart(float64(a.Examined), float64(b.Examined)) && apart(one.rate(a), two.rate(b)) {
		return fmt.Sprintf("examined %d and %d, with %d and %d operations acknowledged",
			a.Examined, b.Examined, one.Acknowledged, two.Acknowledged)
	}
	if a.said() != b.said() {
		return fmt.Sprintf("%s and %s", a.said(), b.said())
	}
	return ""
}

// rate is how many subjects there were for each acknowledged operation.
func (s scenario) rate(g guarantee) float64 {
	return float64(g.Examined) / float64(max(s.Acknowledged, 1))
}

func apart(a, b float64) bool { return max(a, b) > mostRatio*min(a, b) }

func (g guarantee) said() string {
	if g.Skipped {
		return "skipped"
	}
	return cmp.Or(g.Verdict, "not judged")
}

func (s scenario) guarantee(name string) guarantee {
	for _, g := range s.Guarantees {
		if g.Name == name {
			return g
		}
	}
	return guarantee{Name: name}
}

func guarantees(s scenario) []string {
	var names []string
	for _, g := range s.Guarantees {
		names = append(names, g.Name)
	}
	return names
}

// because is why a verdict is what it is, as the backend says that is worse off.
func because(scenarios ...scenario) string {
	for _, s := range scenarios {
		if s.Error != "" {
			return " (" + s.Error + ")"
		}
		if s.Verdict == "unknown" && len(s.Reasons) > 0 {
			return " (" + s.Reasons[0] + ")"
		}
	}
	return ""
}

// anyScenario stands for all of them, in what is said about a guard as a whole.
const anyScenario = "*"

func unpredicted(both [2]results, predicted map[string]removal, backends [2]string) (found []difference) {
	for _, guard := range slices.Sorted(maps.Keys(predicted)) {
		for i, results := range both {
			var named []string
			ran := false
			for at, s := range results {
				if at.without == guard {
					ran, named = true, append(named, s.names()...)
				}
			}
			if ran && !slices.ContainsFunc(predicted[guard].predicted, func(name string) bool { return slices.Contains(named, name) }) {
				found = append(found, difference{cell{anyScenario, guard}, "predicted " + strings.Join(predicted[guard].predicted, "|"),
					fmt.Sprintf("%s named %s", backends[i], list(union(named, nil)))})
			}
		}
	}
	return found
}

func cells(a, b results) []cell {
	var all []cell
	for _, results := range []results{a, b} {
		all = slices.AppendSeq(all, maps.Keys(results))
	}
	slices.SortFunc(all, func(a, b cell) int {
		return cmp.Or(cmp.Compare(a.without, b.without), cmp.Compare(a.scenario, b.scenario))
	})
	return slices.Compact(all)
}

// union is the sorted union of two lists.
func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

func list(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}
