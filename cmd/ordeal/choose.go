package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	ordeal "github.com/ordeal-chaos/ordeal"
	"github.com/ordeal-chaos/ordeal/faults"
	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/services"
)

// choose returns the scenarios to run: those named or all, the ones that expose a removed guard first.
// It brings the names of the removed guards into their usual form.
func choose(flags *runFlags, names []string) (*selection, error) {
	system, err := ordeal.Design(flags.design, flags.without)
	if err != nil {
		return nil, err
	}
	guards := system().Without
	flags.without = guards
	catalogue := ordeal.Catalogue(system)
	chosen, err := named(slices.Clone(catalogue), names)
	if err != nil {
		return nil, err
	}
	if err := addFaults(chosen, flags.faults); err != nil {
		return nil, err
	}
	exposingFirst(chosen, guards)
	return &selection{scenarios: chosen, catalogue: catalogue, named: len(names) > 0, without: guards, faults: flags.faults}, nil
}

// named picks the scenarios of these names, each once; no names pick all.
func named(catalogue []harness.Scenario, names []string) ([]harness.Scenario, error) {
	if len(names) == 0 {
		return catalogue, nil
	}
	var all []string
	for _, s := range catalogue {
		all = append(all, s.Name)
	}
	var chosen []harness.Scenario
	for n, name := range names {
		i := slices.Index(all, name)
		if i < 0 {
			return nil, fmt.Errorf("%w: no scenario %q; nearest: %s", harness.ErrUsage, name, strings.Join(harness.Nearest(name, all, 3), ", "))
		}
		if !slices.Contains(names[:n], name) {
			chosen = append(chosen, catalogue[i])
		}
	}
	return chosen, nil
}

// suspectShell adds to an error what a shell has probably done to the faults: of order->postgres without
// quotes it leaves "order-".
func suspectShell(err error, texts []string) error {
	for _, text := range texts {
		if strings.HasSuffix(text, "-") {
			return fmt.Errorf("%w; --fault %s ends in a dash: quote it, the shell takes > as a redirection", err, text)
		}
	}
	return err
}

// failover is how long another broker may need to take over, with Kafka's default timings.
const failover = time.Minute

// needsThree says whether the fault needs three brokers that can fail alone.
func needsThree(fault harness.Fault) bool {
	var nothing harness.Topology
	return errors.Is(fault.Validate(nothing), nothing.CheckApart())
}

// addFaults adds the faults, "kind:target" each, to every scenario.
func addFaults(scenarios []harness.Scenario, texts []string) error {
	for _, text := range texts {
		fault, err := faults.Parse(text)
		if err != nil {
			return err
		}
		step := harness.During(time.Second, 1500*time.Millisecond, fault)
		if needsThree(fault) {
			step = step.Patient(failover)
		}
		for i := range scenarios {
			scenarios[i].Faults = append(slices.Clip(scenarios[i].Faults), step)
		}
	}
	return nil
}

// exposingFirst puts the scenarios that make a removed guard visible in front, so that a planted bug is
// found early.
func exposingFirst(scenarios []harness.Scenario, removed []string) {
	exposes := func(s harness.Scenario) bool {
		return slices.ContainsFunc(s.Exposes, func(guard string) bool { return slices.Contains(removed, guard) })
	}
	slices.SortStableFunc(scenarios, func(a, b harness.Scenario) int {
		switch x, y := exposes(a), exposes(b); {
		case x && !y:
			return -1
		case y && !x:
			return 1
		}
		return 0
	})
}

// completeScenarios offers the scenarios that are not on the command line yet.
func completeScenarios(_ *cobra.Command, given []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var offers []cobra.Completion
	for _, s := range ordeal.Catalogue(ordeal.Sound) {
		if !slices.Contains(given, s.Name) {
			offers = append(offers, cobra.CompletionWithDesc(s.Name, s.About))
		}
	}
	return offers, cobra.ShellCompDirectiveNoFileComp
}

// completeGuards offers the guards of the chosen design for the last place of a comma-separated list.
func completeGuards(c *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	before := typed[:strings.LastIndexByte(typed, ',')+1]
	guards := services.Guards()
	if flag := c.Flag("design"); flag != nil {
		if design, err := services.FindDesign(flag.Value.String()); err == nil {
			guards = design.Guards()
		}
	}
	var offers []cobra.Completion
	for _, guard := range guards {
		if !slices.Contains(strings.Split(before, ","), guard.Name) {
			offers = append(offers, cobra.CompletionWithDesc(before+guard.Name, guard.Protects))
		}
	}
	return offers, cobra.ShellCompDirectiveNoFileComp
}

// completeDesigns offers the designs and, for each place of a list joined by +, the parts that go with those before it.
func completeDesigns(_ *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	before := typed[:strings.LastIndexByte(typed, '+')+1]
	var offers []cobra.Completion
	offered := map[string]bool{}
	if before == "" {
		for _, design := range services.Designs() {
			offered[design.Name] = true
			offers = append(offers, cobra.CompletionWithDesc(design.Name, design.About))
		}
	}
	for _, part := range services.Catalogue() {
		if offered[part.Name] || slices.Contains(strings.Split(before, "+"), part.Name) || sameAxis(before, part.Axis) {
			continue
		}
		offers = append(offers, cobra.CompletionWithDesc(before+part.Name, part.About))
	}
	return offers, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// sameAxis says whether a list joined by + names a part of that axis.
func sameAxis(list, axis string) bool {
	names := strings.Split(list, "+")
	return slices.ContainsFunc(services.Catalogue(), func(p services.Part) bool { return p.Axis == axis && slices.Contains(names, p.Name) })
}

// completeFaults offers the kinds of faults; which targets there are depends on the scenario.
func completeFaults(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var offers []cobra.Completion
	for _, kind := range faults.Kinds() {
		offers = append(offers, cobra.CompletionWithDesc(kind.Name+":", kind.About))
	}
	return offers, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}
