package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

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
		Example: `  ordeal check ordeal-report/redelivery
  ordeal check ordeal-report/redelivery/history.jsonl --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return judge(args[0], asJSON) },
	}
	command.Flags().BoolVar(&asJSON, "json", false, "print one JSON object instead of the table")
	return command
}

func judge(path string, asJSON bool) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, "history.jsonl")
	}
	view, judgement, err := check.JudgeFile(path, check.OrderAndStock)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %s holds no history; name a run folder, such as ordeal-report/redelivery", harness.ErrUsage, path)
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
	return errors.Join(err, verdict(summary, nil))
}
