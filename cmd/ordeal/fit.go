package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/report"
	"github.com/ordeal-chaos/ordeal/harness/stack"
)

// threeBrokers is what a scenario with [harness.Scenario.Brokers] needs.
const threeBrokers = "--backend containers --brokers 3"

// selection is what a run is about to do, and what it must say about it.
type selection struct {
	scenarios []harness.Scenario
	catalogue []harness.Scenario // all that there are
	named     bool               // scenarios are those that the user named, so that none may be left out
	without   []string
	faults    []string // as on the command line
	leftOut   []report.LeftOut
	notes     []string
}

// fit leaves out the scenarios that the backend cannot run, and validates the others. It refuses to leave
// out what the user named.
func (s *selection) fit(on stack.Capabilities, brokers int) error {
	able, unable := split(s.scenarios, func(c harness.Scenario) bool { return s.named || len(c.Lacks()) == 0 })
	fitting, others := split(able, func(c harness.Scenario) bool { return s.named || c.Fits(on, brokers) })
	for _, scenario := range fitting {
		if err := scenario.Validate(on, brokers); err != nil {
			return suspectShell(err, s.faults)
		}
	}
	s.scenarios = fitting
	s.leftOut = nil
	if len(others) > 0 {
		s.leftOut = append(s.leftOut, report.LeftOut{Needs: threeBrokers, Scenarios: scenarioNames(others)})
	}
	if len(unable) > 0 {
		s.leftOut = append(s.leftOut, report.LeftOut{Needs: "another design than " + unable[0].System.Name, Scenarios: scenarioNames(unable)})
	}
	for _, guard := range s.without {
		if len(exposing(fitting, guard)) == 0 {
			s.notes = append(s.notes, unexposed(guard, s.catalogue, on, brokers))
		}
	}
	return nil
}

// unexposed says that a guard's lack will not show, and where it would.
func unexposed(guard string, catalogue []harness.Scenario, on stack.Capabilities, brokers int) string {
	note := "no scenario of this run exposes the lack of " + guard
	catalogue, _ = split(catalogue, func(c harness.Scenario) bool { return len(c.Lacks()) == 0 })
	fitting, others := split(catalogue, func(c harness.Scenario) bool { return c.Fits(on, brokers) })
	if names := exposing(fitting, guard); len(names) > 0 {
		return fmt.Sprintf("%s: %s would", note, strings.Join(names, ", "))
	}
	if names := exposing(others, guard); len(names) > 0 {
		return fmt.Sprintf("%s: %s would, with %s", note, strings.Join(names, ", "), threeBrokers)
	}
	return note
}

// remarks are what to say before the run about what it will not show.
func (s *selection) remarks() []string {
	var lines []string
	for _, left := range s.leftOut {
		lines = append(lines, left.String())
	}
	return append(lines, s.notes...)
}

// exposing names the scenarios that make the lack of a guard visible.
func exposing(scenarios []harness.Scenario, guard string) []string {
	expose, _ := split(scenarios, func(s harness.Scenario) bool { return slices.Contains(s.Exposes, guard) })
	return scenarioNames(expose)
}

// split divides the scenarios into those that match and the others.
func split(scenarios []harness.Scenario, match func(harness.Scenario) bool) (matching, others []harness.Scenario) {
	for _, s := range scenarios {
		if match(s) {
			matching = append(matching, s)
		} else {
			others = append(others, s)
		}
	}
	return matching, others
}

func scenarioNames(scenarios []harness.Scenario) []string {
	var names []string
	for _, s := range scenarios {
		names = append(names, s.Name)
	}
	return names
}
