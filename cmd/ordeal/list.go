package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	ordeal "github.com/ordeal-chaos/ordeal"
	"github.com/ordeal-chaos/ordeal/faults"
	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/check"
	"github.com/ordeal-chaos/ordeal/services"
)

func listCommand() *cobra.Command {
	var designs, mutants, asJSON bool
	command := &cobra.Command{
		Use:   "list",
		Short: "List scenarios, designs, guards, faults and guarantees",
		Example: `  ordeal list
  ordeal list --designs
  ordeal list --mutants --json`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			w := c.OutOrStdout()
			switch {
			case designs && mutants:
				return fmt.Errorf("%w: --designs and --mutants are two lists: ask for one", harness.ErrUsage)
			case designs && asJSON:
				return writeJSON(w, listedDesigns())
			case designs:
				return listDesigns(w)
			case mutants:
				return listMutants(w, asJSON)
			case asJSON:
				return fmt.Errorf("%w: --json goes with --designs or --mutants", harness.ErrUsage)
			}
			return listAll(w)
		},
	}
	f := command.Flags()
	f.BoolVar(&designs, "designs", false, "list the designs: parts, guards, sources, and what is expected of them")
	f.BoolVar(&mutants, "mutants", false, "list the planted bugs")
	f.BoolVar(&asJSON, "json", false, "print JSON instead of text")
	return command
}

func writeJSON(w io.Writer, of any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(of)
}

func listAll(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	catalogue := ordeal.Catalogue(ordeal.Sound)
	anywhere, three := split(catalogue, func(s harness.Scenario) bool { return s.Brokers <= 1 })
	fmt.Fprintf(table, "SCENARIOS (ordeal run NAME)\n")
	listScenarios(table, anywhere)
	if len(three) > 0 {
		fmt.Fprintf(table, "\nSCENARIOS THAT NEED THREE BROKERS (ordeal run NAME %s)\n", threeBrokers)
		listScenarios(table, three)
	}
	fmt.Fprintf(table, "\nBACKENDS (--backend NAME)\n")
	for _, b := range backends {
		fmt.Fprintf(table, "  %s\t%s\n", b.name, b.about)
	}
	fmt.Fprintf(table, "\nDESIGNS (--design NAME, or parts joined by +; more with ordeal list --designs)\n")
	for _, d := range services.Designs() {
		fmt.Fprintf(table, "  %s\t%s\n", d.Name, aboutDesign(d))
	}
	listGuards(table, catalogue)
	fmt.Fprintf(table, "\nFAULTS (--fault KIND:TARGET)\n")
	listFaults(table, false)
	fmt.Fprintf(table, "\nFAULTS THAT NEED THREE BROKERS (--fault KIND:TARGET %s)\n", threeBrokers)
	listFaults(table, true)
	fmt.Fprintf(table, "\nGUARANTEES\n")
	for _, g := range check.All() {
		fmt.Fprintf(table, "  %s\t%s\t%s\n", g.Name, g.ID, g.Statement)
	}
	return table.Flush()
}

func listScenarios(w io.Writer, scenarios []harness.Scenario) {
	for _, s := range scenarios {
		about := s.About
		if lacks := s.Lacks(); len(lacks) > 0 {
			about += " Needs " + strings.Join(lacks, " and ") + ", which sound does not have."
		}
		fmt.Fprintf(w, "  %s\t%s\n", s.Name, about)
	}
}

// listGuards lists the guards: those of every design, then those that only some parts have, by what these parts are about.
func listGuards(w io.Writer, catalogue []harness.Scenario) {
	planted, _ := ordeal.ListMutants() // a table that cannot be read plants nothing
	fmt.Fprintf(w, "\nGUARDS OF EVERY DESIGN (--without NAME)\n")
	for _, g := range services.Guards() {
		if g.Parts == nil {
			fmt.Fprintf(w, "  %s\t%s%s\n", g.Name, g.Protects, shownBy(g.Name, catalogue, planted))
		}
	}
	about := ""
	for _, part := range services.Catalogue() {
		for _, g := range services.Guards() {
			if g.Parts == nil || g.Parts[0] != part.Name {
				continue // it is listed with the first of its parts
			}
			if about != part.Axis {
				about = part.Axis
				fmt.Fprintf(w, "\nGUARDS OF SOME DESIGNS, BY THEIR %s (--without NAME)\n", strings.ToUpper(about))
			}
			fmt.Fprintf(w, "  %s\t%s: %s%s\n", g.Name, strings.Join(g.Parts, ", "), g.Protects, shownBy(g.Name, catalogue, planted))
		}
	}
}

// shownBy says which scenarios make the lack of a guard visible, as they and the table of planted bugs tell.
func shownBy(guard string, catalogue []harness.Scenario, planted []ordeal.Mutant) string {
	names := exposing(catalogue, guard)
	for _, m := range planted {
		if m.Without == guard && !slices.Contains(names, m.Scenario) {
			names = append(names, m.Scenario)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf(" Shown by %s.", strings.Join(names, ", "))
}

// listFaults lists the kinds that need three brokers, or the others.
func listFaults(w io.Writer, needThree bool) {
	for _, k := range faults.Kinds() {
		if needsThree(k.New("")) != needThree {
			continue
		}
		name := k.Name
		if k.Target != "brokers" { // these hit all of them
			name += ":" + strings.ToUpper(k.Target)
		}
		fmt.Fprintf(w, "  %s\t%s\n", name, k.About)
	}
}

// listMutants lists the planted bugs.
func listMutants(w io.Writer, asJSON bool) error {
	planted, err := ordeal.ListMutants()
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(w, planted)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "ID\tDESIGN\tWITHOUT\tSCENARIO\tPREDICTED\tBUG (ordeal mutants ID)\n")
	for _, m := range planted {
		row := mutantSummary{Mutant: m}
		bug := m.Bug
		if m.Unplantable != "" {
			bug += " Unplantable: " + m.Unplantable
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", m.ID, dash(m.Design), dash(row.planted()), dash(m.Scenario), dash(strings.Join(m.Predicts, ", ")), bug)
	}
	return table.Flush()
}
