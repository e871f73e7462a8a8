package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/ordeal-chaos/ordeal/harness/stack"
)

func doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Say what can run here, and what is missing",
		Long: `Say what can run here, what is missing, and what to do about it. The exit code is 0 when everything
that ordeal run needs is there, and 70 otherwise.`,
		Example: `  ordeal doctor
  ORDEAL_PG_BIN=/usr/lib/postgresql/16/bin ordeal doctor`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			missing, err := examine(c.OutOrStdout(), stack.Doctor(c.Context()))
			switch {
			case err != nil:
				return err
			case missing:
				return exit(exitHarness)
			}
			return nil
		},
	}
}

// examine prints the findings, and says whether something that a run needs is missing.
func examine(w io.Writer, findings []stack.Finding) (missing bool, err error) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, finding := range findings {
		mark := "ok"
		switch {
		case finding.OK:
		case finding.Optional:
			mark = "absent"
		default:
			mark, missing = "missing", true
		}
		for i, line := range strings.Split(finding.Detail, "\n") {
			if i > 0 {
				mark, finding.Name = "", ""
			}
			fmt.Fprintf(table, "%s\t%s\t%s\n", mark, finding.Name, line)
		}
		if !finding.OK && finding.Fix != "" {
			fmt.Fprintf(table, "\t\t→ %s\n", finding.Fix)
		}
	}
	return missing, table.Flush()
}
