package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	ordeal "github.com/ordeal-chaos/ordeal"
	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/report"
	"github.com/ordeal-chaos/ordeal/harness/stack"
)

// mutantFlags are the settings of one `ordeal mutants`.
type mutantFlags struct {
	runFlags
	repeat   int
	table    string
	baseline string
	update   bool
	keepAll  bool
}

func mutantsCommand() *cobra.Command {
	var flags mutantFlags
	command := &cobra.Command{
		Use:   "mutants [ID…]",
		Short: "Plant each bug of the table, and say whether it is found by name",
		Long: `Plant each bug of the table, all of them by default, and run the scenario that must expose it: with the bug,
and without it under the same schedule and seed.

  KILLED         a predicted anomaly was named, and without the bug there was none
  SURVIVED       the run with the bug passed
  WRONG-ANOMALY  it failed, with none of the predicted anomalies
  STALE          the bug's code never ran
  FALSE-ALARM    the run without the bug failed
  UNKNOWN        one of the two runs proved nothing
  UNPLANTABLE    this architecture cannot have the bug
  LEFT OUT       it needs three brokers, and there are fewer

With --repeat, the seeds are SEED, SEED+1, …, and a bug is KILLED when 19 of 20 repeats killed it. The verdicts
are compared with the committed baseline: exit code 1 when a bug that was killed is not, or for a false alarm,
2 when that is not known, else 0. --out gets mutants.json, mutants.md, and the runs of what was not killed.

` + environmentHelp,
		Example: `  ordeal mutants
  ordeal mutants B11 B25 --seed 7
  ordeal mutants --repeat 20 --out /tmp/mutants
  ordeal mutants B38b --backend containers --brokers 3
  ordeal mutants --update-baseline`,
		ValidArgsFunction: completeMutants,
		RunE: func(c *cobra.Command, ids []string) error {
			if !c.Flags().Changed("seed") {
				flags.seed = harness.NewSeed()
			}
			switch {
			case c.Flags().Changed("parallel") && flags.parallel < 1:
				return fmt.Errorf("%w: --parallel %d: at least one run must go on at a time", harness.ErrUsage, flags.parallel)
			case flags.repeat < 1:
				return fmt.Errorf("%w: --repeat %d: each bug must run at least once", harness.ErrUsage, flags.repeat)
			}
			if err := flags.settleBackend(c.Flags()); err != nil {
				return err
			}
			return mutants(c.Context(), flags, ids)
		},
	}
	f := command.Flags()
	f.IntVar(&flags.repeat, "repeat", 1, "run each bug `N` times, with a seed of its own each")
	f.StringVar(&flags.table, "table", "", "`FILE` with other bugs than the committed ones, in the form of testdata/mutants.yaml")
	f.StringVar(&flags.baseline, "baseline", "", "`FILE` with another baseline than the committed one, "+ordeal.MutantBaselineFile)
	f.BoolVar(&flags.update, "update-baseline", false, "write the verdicts into the baseline instead of comparing them")
	f.BoolVar(&flags.keepAll, "keep-all", false, "keep the runs of killed bugs too")
	flags.defineBackend(f)
	f.Uint64Var(&flags.seed, "seed", 0, "`N` of the run whose workloads to repeat (default a new one)")
	f.IntVar(&flags.parallel, "parallel", 0, "`N` runs at a time (default two for each CPU; in containers a CPU for each broker)")
	f.StringVar(&flags.out, "out", "mutants-report", "`DIR` for the report and the runs")
	f.BoolVar(&flags.json, "json", false, "print one JSON object instead of the table")
	completeBackend(command)
	if err := errors.Join(command.MarkFlagDirname("out"), command.MarkFlagFilename("table"), command.MarkFlagFilename("baseline")); err != nil {
		panic(err) // a flag is not defined above
	}
	return command
}

// mutants carries out the command.
func mutants(ctx context.Context, flags mutantFlags, ids []string) error {
	table, err := readMutants(flags.table)
	if err != nil {
		return err
	}
	chosen, err := namedMutants(table, ids)
	if err != nil {
		return err
	}
	baseline, err := readBaseline(flags.baseline, flags.update)
	if err != nil {
		return err
	}
	campaign := &campaign{flags: flags, ids: ids, mutants: chosen}
	if flags.choice.Backend != auto {
		if err := campaign.fit(capabilities(flags.choice.Backend)); err != nil {
			return err
		}
	}
	if campaign.out, err = filepath.Abs(flags.out); err != nil {
		return fmt.Errorf("find --out %s: %w", flags.out, err)
	}
	if err := report.Preflight(campaign.out); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(campaign.out, runsFolder)); err != nil {
		return fmt.Errorf("clear runs of an earlier report: %w", err)
	}
	began := time.Now()
	campaign.progress = report.NewProgress(os.Stderr)
	backend, err := open(ctx, &campaign.flags.runFlags, campaign.fit, campaign.progress)
	if err != nil {
		return errors.Join(err, campaign.progress.Close())
	}
	campaign.backend = backend
	campaign.run(ctx)
	summary := campaign.summarize(baseline)
	summary.Interrupted = ctx.Err() != nil && campaign.incomplete()
	summary.Started, summary.Seconds = began.UTC(), time.Since(began).Seconds()
	err = errors.Join(
		backend.Close(),
		campaign.swept,
		summary.write(campaign.out),
		campaign.progress.Close(), // before the table: they may share the terminal
	)
	if err == nil && flags.update && !summary.Interrupted {
		err = summary.updateBaseline(baseline, flags.baseline)
	}
	if err == nil {
		err = summary.show(os.Stdout, flags)
	}
	if err != nil {
		return err
	}
	return summary.exit()
}

// readMutants reads and checks a table; without a file, the committed one.
func readMutants(file string) ([]ordeal.Mutant, error) {
	if file == "" {
		return ordeal.Mutants()
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%w: read --table: %w", harness.ErrUsage, err)
	}
	table, err := ordeal.ParseMutants(data)
	if err != nil {
		return nil, err
	}
	return table, ordeal.CheckMutants(table)
}

// readBaseline reads a baseline; without a file, the committed one. One that is to be written need not be there yet.
func readBaseline(file string, update bool) (ordeal.MutantBaseline, error) {
	if file == "" {
		return ordeal.CommittedMutantBaseline()
	}
	data, err := os.ReadFile(file)
	if update && errors.Is(err, os.ErrNotExist) {
		return ordeal.MutantBaseline{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: read --baseline: %w", harness.ErrUsage, err)
	}
	return ordeal.ParseMutantBaseline(data)
}

// namedMutants picks the mutants of these ids, each once; the number of a bug picks all of its mutants, no ids all there are.
func namedMutants(table []ordeal.Mutant, ids []string) ([]ordeal.Mutant, error) {
	if len(ids) == 0 {
		return table, nil
	}
	var known []string
	for _, m := range table {
		known = append(known, m.ID)
	}
	for _, id := range ids {
		if !slices.ContainsFunc(table, func(m ordeal.Mutant) bool { return m.ID == id || m.Number() == id }) {
			nearest := harness.Nearest(id, known, 3)
			return nil, fmt.Errorf("%w: no mutant %q; nearest: %s", harness.ErrUsage, id, strings.Join(nearest, ", "))
		}
	}
	var chosen []ordeal.Mutant
	for _, m := range table {
		if slices.Contains(ids, m.ID) || slices.Contains(ids, m.Number()) {
			chosen = append(chosen, m)
		}
	}
	return chosen, nil
}

// completeMutants offers the mutants that are not on the command line yet.
func completeMutants(_ *cobra.Command, given []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	table, _ := ordeal.ListMutants() // a table that cannot be read offers nothing
	var offers []cobra.Completion
	for _, m := range table {
		if !slices.Contains(given, m.ID) {
			offers = append(offers, cobra.CompletionWithDesc(m.ID, m.Bug))
		}
	}
	return offers, cobra.ShellCompDirectiveNoFileComp
}

// fit leaves out the mutants that need three brokers where there are fewer, and validates the others. It refuses to leave
// out what the user named by its own id.
func (c *campaign) fit(on stack.Capabilities) error {
	c.entries = nil
	for _, m := range c.mutants {
		e := &entry{Mutant: m}
		c.entries = append(c.entries, e)
		if m.Unplantable != "" {
			continue
		}
		var err error
		if e.planted, err = m.Planted(); err == nil {
			e.sound, err = m.Sound()
		}
		if err != nil {
			return err // the table was checked: it was named otherwise
		}
		if e.leftOut = !e.planted.Fits(on, c.flags.brokers); e.leftOut && !slices.Contains(c.ids, m.ID) {
			continue
		}
		for _, scenario := range []harness.Scenario{e.planted, e.sound} {
			if err := scenario.Validate(on, c.flags.brokers); err != nil {
				return fmt.Errorf("%w: mutant %s: %s", harness.ErrUsage, m.ID, strings.TrimPrefix(err.Error(), harness.ErrUsage.Error()+": "))
			}
		}
	}
	return nil
}
