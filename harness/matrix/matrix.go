// Package matrix owns the table of designs and scenarios: what of it was run, what became of each cell, how that
// compares with what was expected, and how it is printed.
package matrix

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ordeal-chaos/ordeal/harness/check"
	"github.com/ordeal-chaos/ordeal/harness/price"
)

// Settings are what a matrix is about. A matrix can be gone on with when what is run is the same; what the literature
// expects is read anew.
type Settings struct {
	// Seed of the first repeat; repeat r, from 0, has Seed+r, in every design.
	Seed      uint64            `json:"seed"`
	Repeat    int               `json:"repeat"`
	Backend   string            `json:"backend"`
	Versions  map[string]string `json:"versions"`
	Designs   []Design          `json:"designs"`
	Scenarios []Scenario        `json:"scenarios"`
	Absent    []Absence         `json:"absent"`
	Price     *price.Plan       `json:"price,omitempty"` // nil: not measured
}

// Design is one row.
type Design struct {
	Name  string   `json:"name"`
	Parts string   `json:"parts"`
	Lacks []string `json:"lacks"` // guards
	// Expects is what the literature says of the design in a sentence, Breaks the anomalies that it is said to
	// show under some fault. Where Described is false nobody said anything.
	Described bool     `json:"described"`
	Expects   string   `json:"expects"`
	Breaks    []string `json:"breaks"`
}

// Scenario is one column.
type Scenario struct {
	Name string `json:"name"`
	Code string `json:"code"` // a letter or two, unique, for narrow tables
}

// Absence is a cell that cannot be: the scenario needs what the design lacks.
type Absence struct {
	Design   string `json:"design"`
	Scenario string `json:"scenario"`
	Why      string `json:"why"`
}

// Run is what became of one run of a scenario.
type Run struct {
	Design   string        `json:"design"`
	Scenario string        `json:"scenario"`
	Repeat   int           `json:"repeat"` // from 0
	Seed     uint64        `json:"seed"`
	Verdict  check.Verdict `json:"verdict"`
	// Anomalies are named once each, the most telling first.
	Anomalies []string `json:"anomalies"`
	Reason    string   `json:"reason,omitempty"` // why it is unknown
	// Held, Broken and Unclear are names of guarantees; those that were given nothing to judge are in none.
	Held    []string `json:"held"`
	Broken  []string `json:"broken"`
	Unclear []string `json:"unclear"`
	Seconds float64  `json:"seconds"`
	// History is the run's folder, in that of the matrix; empty where it was not kept.
	History string `json:"history,omitempty"`
	Command string `json:"command"` // that runs it again
}

// Priced is what one design costs, or why that is not known.
type Priced struct {
	Design  string        `json:"design"`
	Figures price.Figures `json:"figures"`
	Error   string        `json:"error,omitempty"`
}

// Differences says in which settings b is another matrix than a, one sentence each; none when they are the same.
func Differences(a, b Settings) []string {
	var found []string
	differ := func(what string, was, is any) {
		if fmt.Sprint(was) != fmt.Sprint(is) {
			found = append(found, fmt.Sprintf("%s: %v then, %v now", what, was, is))
		}
	}
	differ("seed", a.Seed, b.Seed)
	differ("repeat", a.Repeat, b.Repeat)
	differ("backend", a.Backend, b.Backend)
	names := slices.Sorted(maps.Keys(a.Versions))
	for name := range b.Versions {
		if _, both := a.Versions[name]; !both {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		differ("version of "+name, orNone(a.Versions[name]), orNone(b.Versions[name]))
	}
	found = append(found, onlyIn("designs", designNames(a.Designs), designNames(b.Designs))...)
	for _, was := range a.Designs {
		for _, is := range b.Designs {
			if was.Name == is.Name {
				differ("parts of "+was.Name, was.Parts, is.Parts)
				differ("guards that "+was.Name+" lacks", was.Lacks, is.Lacks)
			}
		}
	}
	found = append(found, onlyIn("scenarios", scenarioNames(a.Scenarios), scenarioNames(b.Scenarios))...)
	differ("price", planned(a.Price), planned(b.Price))
	return found
}

func orNone(version string) string {
	if version == "" {
		return "none"
	}
	return version
}

func planned(plan *price.Plan) string {
	if plan == nil {
		return "not measured"
	}
	return fmt.Sprintf("measured with %+v", plan.WithDefaults())
}

// onlyIn says what one of two lists has and the other has not, or that their order differs.
func onlyIn(what string, was, is []string) []string {
	lacking := func(from, in []string) []string {
		return slices.DeleteFunc(slices.Clone(from), func(name string) bool { return slices.Contains(in, name) })
	}
	var found []string
	if gone := lacking(was, is); len(gone) > 0 {
		found = append(found, fmt.Sprintf("%s: %s only then", what, strings.Join(gone, ", ")))
	}
	if added := lacking(is, was); len(added) > 0 {
		found = append(found, fmt.Sprintf("%s: %s only now", what, strings.Join(added, ", ")))
	}
	return found
}

func designNames(designs []Design) []string {
	var names []string
	for _, d := range designs {
		names = append(names, d.Name)
	}
	return names
}

func scenarioNames(scenarios []Scenario) []string {
	var names []string
	for _, s := range scenarios {
		names = append(names, s.Name)
	}
	return names
}

// pairs are a map's entries, sorted.
func pairs(of map[string]string) [][2]string {
	var list [][2]string
	for _, key := range slices.Sorted(maps.Keys(of)) {
		list = append(list, [2]string{key, of[key]})
	}
	return list
}
