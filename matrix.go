package ordeal

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/matrix"
	"github.com/ordeal-chaos/ordeal/harness/stack"
	"github.com/ordeal-chaos/ordeal/services"
)

// AllScenarios stands, among the scenarios of a [NewGrid], for every scenario that the brokers allow.
const AllScenarios = "all"

// Telling lists the scenarios that tell designs apart, one or two for each kind of fault by which the literature
// compares them. It is what a matrix runs unless told otherwise.
func Telling() []matrix.Scenario {
	return []matrix.Scenario{
		{Code: "K1", Name: "killed-before-commit"}, // killed in the gap: is what never committed announced?
		{Code: "K2", Name: "killed-after-commit"},  // and on its other side: is what committed announced?
		{Code: "A", Name: "backends-terminated"},   // transactions aborted by their server
		{Code: "T", Name: "swallowed-acks"},        // sends that time out and arrived all the same
		{Code: "D", Name: "redelivery"},            // records consumed again
		{Code: "Z", Name: "zombie-replica"},        // a paused consumer whose partitions went to another
		{Code: "C", Name: "last-units"},            // contention
		{Code: "P", Name: "postgres-crash"},        // Postgres killed
	}
}

// Grid is what a matrix runs: every scenario on every design, by their names.
type Grid struct {
	Designs   []matrix.Design
	Scenarios []matrix.Scenario
	Absent    []matrix.Absence
	LeftOut   []string // scenarios that all brokers there are cannot run

	systems map[string]func(...Option) harness.System
	cells   map[[2]string]harness.Scenario
}

// System is that of a design.
func (g Grid) System(design string) harness.System { return g.systems[design]() }

// Scenario is that of a cell, which is not absent.
func (g Grid) Scenario(design, name string) harness.Scenario { return g.cells[[2]string{design, name}] }

// NewGrid puts designs and scenarios together; none means every named design, and [Telling]. It refuses unknown names,
// and scenarios that need more brokers, with an error that wraps [harness.ErrUsage].
func NewGrid(designs, scenarios []string, on stack.Capabilities, brokers int) (Grid, error) {
	g := Grid{
		Absent: []matrix.Absence{}, systems: map[string]func(...Option) harness.System{}, cells: map[[2]string]harness.Scenario{},
	}
	if len(designs) == 0 {
		for _, d := range services.Designs() {
			designs = append(designs, d.Name)
		}
	}
	if err := g.columns(scenarios, on, brokers); err != nil {
		return g, err
	}
	for _, name := range unique(designs) {
		if err := g.row(name, on, brokers); err != nil {
			return g, err
		}
	}
	return g, nil
}

// columns finds the scenarios.
func (g *Grid) columns(names []string, on stack.Capabilities, brokers int) error {
	catalogue := Catalogue(Sound)
	code := map[string]string{}
	for _, s := range Telling() {
		code[s.Name] = s.Code
	}
	all := slices.Equal(names, []string{AllScenarios})
	switch {
	case all:
		names = nil
		for _, s := range catalogue {
			if s.Fits(on, brokers) {
				names = append(names, s.Name)
			} else {
				g.LeftOut = append(g.LeftOut, s.Name)
			}
		}
	case len(names) == 0:
		for _, s := range Telling() {
			names = append(names, s.Name)
		}
	}
	for i, name := range unique(names) {
		at := slices.IndexFunc(catalogue, func(s harness.Scenario) bool { return s.Name == name })
		if at < 0 {
			var known []string
			for _, s := range catalogue {
				known = append(known, s.Name)
			}
			return fmt.Errorf("%w: no scenario %q; nearest: %s", harness.ErrUsage, name, strings.Join(harness.Nearest(name, known, 3), ", "))
		}
		if !catalogue[at].Fits(on, brokers) {
			return catalogue[at].Validate(on, brokers)
		}
		if code[name] == "" {
			code[name] = fmt.Sprint(i + 1)
		}
		g.Scenarios = append(g.Scenarios, matrix.Scenario{Name: name, Code: code[name]})
	}
	return nil
}

// row adds a design with its cells.
func (g *Grid) row(name string, on stack.Capabilities, brokers int) error {
	design, err := services.FindDesign(name)
	if err != nil {
		return fmt.Errorf("%w: %w", harness.ErrUsage, err)
	}
	system, err := Design(name, nil)
	if err != nil {
		return err
	}
	g.systems[name] = system
	row := matrix.Design{
		Name: name, Parts: design.Parts.String(), Lacks: append([]string{}, design.Lacks...),
		Described: design.Expects != "" || name == services.Sound,
		Expects:   design.Expects, Breaks: append([]string{}, design.Breaks...),
	}
	g.Designs = append(g.Designs, row)
	catalogue := Catalogue(system)
	for _, column := range g.Scenarios {
		at := slices.IndexFunc(catalogue, func(s harness.Scenario) bool { return s.Name == column.Name })
		if why := unable(catalogue[at], on, brokers); why != "" {
			g.Absent = append(g.Absent, matrix.Absence{Design: name, Scenario: column.Name, Why: why})
			continue
		}
		g.cells[[2]string{name, column.Name}] = catalogue[at]
	}
	return nil
}

// unable says why a design cannot be put through a scenario: what it lacks, or a link or process that the scenario
// breaks and the design has not.
func unable(s harness.Scenario, on stack.Capabilities, brokers int) string {
	if lacks := s.Lacks(); len(lacks) > 0 {
		return "needs " + strings.Join(lacks, " and ")
	}
	err := s.Validate(on, brokers)
	if err == nil {
		return ""
	}
	if inner := errors.Unwrap(err); inner != nil {
		err = inner
	}
	return err.Error()
}

// unique drops names that came before.
func unique(names []string) []string {
	var kept []string
	for _, name := range names {
		if name = strings.TrimSpace(name); name != "" && !slices.Contains(kept, name) {
			kept = append(kept, name)
		}
	}
	return kept
}

// Notes are what to say beforehand about what will not be run.
func (g Grid) Notes() []string {
	var notes []string
	if len(g.LeftOut) > 0 {
		notes = append(notes, fmt.Sprintf("left out, for want of three brokers: %s", strings.Join(g.LeftOut, ", ")))
	}
	if len(g.Absent) > 0 {
		notes = append(notes, fmt.Sprintf("cells that cannot be, for what the design lacks: %d", len(g.Absent)))
	}
	return notes
}
