package main

import (
	"fmt"
	"io"
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
	return &cobra.Command{
		Use:     "list",
		Short:   "List scenarios, guards, faults and guarantees",
		Example: "  ordeal list",
		Args:    noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			table := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
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
			fmt.Fprintf(table, "\nDESIGNS (--design NAME)\n  %s\toutbox, inbox, conditional update, compare-and-set, sweeper, dead letters, idempotency keys\n", services.Sound)
			fmt.Fprintf(table, "\nGUARDS (--without NAME)\n")
			for _, g := range services.Guards() {
				fmt.Fprintf(table, "  %s\t%s Shown by %s.\n", g.Name, g.Protects, strings.Join(exposing(catalogue, g.Name), ", "))
			}
			fmt.Fprintf(table, "\nFAULTS (--fault KIND:TARGET)\n")
			listFaults(table, false)
			fmt.Fprintf(table, "\nFAULTS THAT NEED THREE BROKERS (--fault KIND:TARGET %s)\n", threeBrokers)
			listFaults(table, true)
			fmt.Fprintf(table, "\nGUARANTEES\n")
			for _, g := range check.All() {
				fmt.Fprintf(table, "  %s\t%s\t%s\n", g.Name, g.ID, g.Statement)
			}
			return table.Flush()
		},
	}
}

func listScenarios(w io.Writer, scenarios []harness.Scenario) {
	for _, s := range scenarios {
		fmt.Fprintf(w, "  %s\t%s\n", s.Name, s.About)
	}
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
