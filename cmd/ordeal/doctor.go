package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/ordeal-chaos/ordeal/harness/stack"
)

func doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "doctor",
		Short:   "Say what can run here, and what is missing",
		Example: "  ordeal doctor",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			table := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			missing := 0
			for _, finding := range stack.Doctor(c.Context()) {
				mark := "ok"
				if !finding.OK {
					mark = "missing"
					missing++
				}
				fmt.Fprintf(table, "%s\t%s\t%s\n", mark, finding.Name, finding.Detail)
				if !finding.OK && finding.Fix != "" {
					fmt.Fprintf(table, "\t\t→ %s\n", finding.Fix)
				}
			}
			if err := table.Flush(); err != nil {
				return err
			}
			if missing > 0 {
				return exit(exitHarness)
			}
			return nil
		},
	}
}
