package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	ordeal "github.com/ordeal-chaos/ordeal"
	"github.com/ordeal-chaos/ordeal/faults"
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
			fmt.Fprintf(table, "SCENARIOS (ordeal run NAME)\n")
			for _, s := range ordeal.Catalogue(ordeal.Sound) {
				fmt.Fprintf(table, "  %s\t%s\n", s.Name, s.About)
			}
			fmt.Fprintf(table, "\nDESIGNS (--design NAME)\n  %s\toutbox, inbox, conditional update, compare-and-set, sweeper, dead letters, idempotency keys\n", services.Design)
			fmt.Fprintf(table, "\nGUARDS (--without NAME)\n")
			for _, g := range services.Guards() {
				fmt.Fprintf(table, "  %s\t%s\n", g.Name, g.Protects)
			}
			fmt.Fprintf(table, "\nFAULTS (--fault KIND:TARGET)\n")
			for _, k := range faults.Kinds() {
				name := k.Name
				if k.Target != "brokers" { // these hit all of them
					name += ":" + strings.ToUpper(k.Target)
				}
				fmt.Fprintf(table, "  %s\t%s\n", name, k.About)
			}
			fmt.Fprintf(table, "\nGUARANTEES\n")
			for _, g := range check.OrderAndStock {
				fmt.Fprintf(table, "  %s\t%s\t%s\n", g.Name, g.ID, g.Statement)
			}
			return table.Flush()
		},
	}
}
