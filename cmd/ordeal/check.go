package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/check"
	"github.com/ordeal-chaos/ordeal/harness/report"
)

func checkCommand() *cobra.Command {
	var asJSON bool
	command := &cobra.Command{
		Use:   "check RUN_DIR",
		Short: "Judge a saved history again",
		Long: `Judge a saved history again. RUN_DIR is the folder of one scenario in a report, or its history.jsonl.
The exit code is that of the verdict, and 70 for a history that is damaged.`,
		Example: `  ordeal check ordeal-report/redelivery
  ordeal check ordeal-report/redelivery/history.jsonl --json`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage(c, fmt.Errorf("check takes one run folder, such as ordeal-report/redelivery, not %d", len(args)))
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return judge(args[0], asJSON) },
	}
	command.Flags().BoolVar(&asJSON, "json", false, "print one JSON object instead of the table")
	return command
}

func judge(path string, asJSON bool) error {
	file := path
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		file = filepath.Join(path, historyFile)
	}
	view, judgement, err := check.JudgeFile(file, nil)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return noHistory(path)
	case err != nil:
		return err
	}
	scenario := harness.Rejudged(view, judgement)
	summary := report.Run{
		Verdict: scenario.Verdict, Seed: view.Header.Seed, Backend: view.Header.Backend, Versions: view.Header.Versions,
		Started: view.Header.Started, Seconds: scenario.Seconds, Repeat: view.Header.Repeat, Scenarios: []report.Scenario{scenario},
	}
	if asJSON {
		err = report.WriteJSON(os.Stdout, summary)
	} else {
		err = report.WriteTerminal(os.Stdout, summary, report.Colour(os.Stdout))
	}
	if err != nil {
		return err
	}
	return verdict(summary, nil)
}

// historyFile is the name of the history in a run folder.
const historyFile = "history.jsonl"

// noHistory says where the histories are, if path is the folder of a whole report.
func noHistory(path string) error {
	runs, _ := filepath.Glob(filepath.Join(path, "*", historyFile)) // a path that is no pattern finds nothing
	if len(runs) == 0 {
		return fmt.Errorf("%w: no history in %s; name a run folder, such as ordeal-report/redelivery", harness.ErrUsage, path)
	}
	for i, run := range runs {
		runs[i] = filepath.Dir(run)
	}
	return fmt.Errorf("%w: %s holds several histories; name one: %s", harness.ErrUsage, path, strings.Join(runs, ", "))
}
