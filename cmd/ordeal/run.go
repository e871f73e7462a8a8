package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	ordeal "github.com/ordeal-chaos/ordeal"
	"github.com/ordeal-chaos/ordeal/faults"
	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/check"
	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/report"
	"github.com/ordeal-chaos/ordeal/harness/stack"
)

// runFlags are the settings of one `ordeal run`.
type runFlags struct {
	design   string
	without  []string
	backend  string
	faults   []string
	seed     uint64
	parallel int
	out      string
	json     bool
	keep     bool
}

func runCommand() *cobra.Command {
	var flags runFlags
	command := &cobra.Command{
		Use:   "run [SCENARIO…]",
		Short: "Run scenarios (all of them by default) and write the report",
		Example: `  ordeal run
  ordeal run broker-outage postgres-crash --seed 7
  ordeal run --without inbox-dedup
  ordeal run calm --fault 'latency:order->postgres'
  ordeal run --json --out /tmp/report > result.json`,
		RunE: func(c *cobra.Command, names []string) error {
			if !c.Flags().Changed("seed") {
				flags.seed = harness.NewSeed()
			}
			return run(c.Context(), flags, names)
		},
	}
	f := command.Flags()
	f.StringVar(&flags.design, "design", "sound", "design of the reference services")
	f.StringSliceVar(&flags.without, "without", nil, "guards to remove from the design, to plant a bug (see ordeal list)")
	f.StringVar(&flags.backend, "backend", "embedded", "what to run on: embedded")
	f.StringArrayVar(&flags.faults, "fault", nil, "add a fault `KIND:TARGET` to every scenario chosen (see ordeal list)")
	f.Uint64Var(&flags.seed, "seed", 0, "repeat the workload of an earlier run (default: a new one)")
	f.IntVar(&flags.parallel, "parallel", 2*runtime.NumCPU(), "scenarios at a time")
	f.StringVar(&flags.out, "out", "ordeal-report", "folder for the report and the histories")
	f.BoolVar(&flags.json, "json", false, "print one JSON object instead of the table")
	f.BoolVar(&flags.keep, "keep", false, "leave the stack of a scenario that did not pass up until Ctrl-C, and print its addresses")
	return command
}

// choose returns the scenarios to run: those named or all, the ones that expose a removed guard first.
func choose(flags runFlags, names []string) ([]harness.Scenario, error) {
	if flags.backend != "embedded" {
		return nil, fmt.Errorf("%w: no backend %q; there is: embedded", harness.ErrUsage, flags.backend)
	}
	if flags.parallel < 1 {
		return nil, fmt.Errorf("%w: --parallel %d: at least one scenario must run at a time", harness.ErrUsage, flags.parallel)
	}
	system, err := ordeal.Design(flags.design, flags.without)
	if err != nil {
		return nil, err
	}
	catalogue := ordeal.Catalogue(system)
	if catalogue, err = named(catalogue, names); err != nil {
		return nil, err
	}
	for _, text := range flags.faults {
		fault, err := faults.Parse(text)
		if err != nil {
			return nil, err
		}
		for i := range catalogue {
			catalogue[i].Faults = append(slices.Clip(catalogue[i].Faults), harness.During(time.Second, 1500*time.Millisecond, fault))
		}
	}
	exposing := func(s harness.Scenario) int {
		for _, guard := range s.Exposes {
			if slices.Contains(flags.without, guard) {
				return 0
			}
		}
		return 1
	}
	slices.SortStableFunc(catalogue, func(a, b harness.Scenario) int { return exposing(a) - exposing(b) })
	for _, scenario := range catalogue {
		if err := scenario.Validate(); err != nil {
			return nil, err
		}
	}
	return catalogue, nil
}

func named(catalogue []harness.Scenario, names []string) ([]harness.Scenario, error) {
	if len(names) == 0 {
		return catalogue, nil
	}
	var all []string
	for _, s := range catalogue {
		all = append(all, s.Name)
	}
	var chosen []harness.Scenario
	for _, name := range names {
		i := slices.Index(all, name)
		if i < 0 {
			return nil, fmt.Errorf("%w: no scenario %q; nearest: %s", harness.ErrUsage, name, strings.Join(harness.Nearest(name, all, 3), ", "))
		}
		if !slices.ContainsFunc(chosen, func(s harness.Scenario) bool { return s.Name == name }) {
			chosen = append(chosen, catalogue[i])
		}
	}
	return chosen, nil
}

func run(ctx context.Context, flags runFlags, names []string) (failure error) {
	scenarios, err := choose(flags, names)
	if err != nil {
		return err
	}
	out, err := filepath.Abs(flags.out)
	if err != nil {
		return fmt.Errorf("find --out %s: %w", flags.out, err)
	}
	if err := report.Preflight(out); err != nil {
		return err
	}
	progress := report.NewProgress(os.Stderr)
	defer func() { failure = errors.Join(failure, progress.Close()) }()
	began := time.Now()
	backend, err := stack.NewEmbedded(ctx, stack.EmbeddedConfig{Log: func(line string) { progress.Update(report.Update{Note: line}) }})
	if err != nil {
		return fmt.Errorf("start embedded backend: %w", err)
	}
	defer func() { failure = errors.Join(failure, backend.Close()) }()
	runner := &harness.Runner{
		Backend: backend, Out: out, Seed: flags.seed,
		Repeat:   func(s harness.Scenario) string { return repeat(flags, s.Name) },
		Progress: func(u harness.Update) { progress.Update(shown(u)) },
	}
	if flags.keep {
		runner.Keep = keep(progress)
	}
	results := runAll(ctx, runner, scenarios, flags.parallel)

	summary := harness.Summarize(results)
	summary.Seed, summary.Backend, summary.Versions = flags.seed, backend.Name(), backend.Versions()
	summary.Started, summary.Seconds = began.UTC(), time.Since(began).Seconds()
	summary.Interrupted = ctx.Err() != nil
	summary.Repeat = repeat(flags, names...)
	if err := errors.Join(report.WriteAll(out, summary), progress.Close()); err != nil {
		return err
	}
	if flags.json {
		err = report.WriteJSON(os.Stdout, summary)
	} else {
		err = report.WriteTerminal(os.Stdout, summary, report.Colour(os.Stdout))
		fmt.Printf("\nreport: %s\n", filepath.Join(flags.out, "index.html"))
	}
	return errors.Join(err, verdict(summary, results))
}

// runAll runs the scenarios, so many at a time, and returns the results of those that were begun, in
// the order given.
func runAll(ctx context.Context, runner *harness.Runner, scenarios []harness.Scenario, parallel int) []harness.Result {
	results := make([]*harness.Result, len(scenarios))
	slots := make(chan struct{}, parallel)
	var group sync.WaitGroup
	for i, scenario := range scenarios {
		slots <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		group.Go(func() {
			defer func() { <-slots }()
			result := runner.Run(ctx, scenario)
			results[i] = &result
		})
	}
	group.Wait()
	var begun []harness.Result
	for _, result := range results {
		if result != nil {
			begun = append(begun, *result)
		}
	}
	return begun
}

// repeat is the command that runs the same again.
func repeat(flags runFlags, names ...string) string {
	words := append([]string{"ordeal", "run"}, names...)
	if flags.design != "sound" {
		words = append(words, "--design", flags.design)
	}
	if len(flags.without) > 0 {
		words = append(words, "--without", strings.Join(flags.without, ","))
	}
	for _, fault := range flags.faults {
		words = append(words, "--fault", "'"+fault+"'")
	}
	return strings.Join(append(words, "--seed", fmt.Sprint(flags.seed)), " ")
}

// shown is the harness's news in the words of the progress display.
func shown(u harness.Update) report.Update {
	update := report.Update{Scenario: u.Scenario, Phase: u.Phase, Operations: u.Operations, Acknowledged: u.Acknowledged}
	if u.Fault != nil && u.Fault.Stage != history.Healed {
		update.Fault, update.Evidence = harness.FaultUpdate(*u.Fault)
		update.Bit = u.Fault.Bit
	}
	if r := u.Result; r != nil {
		update.Done, update.Verdict = true, r.Verdict
		switch {
		case r.Error != nil:
			update.Reason = r.Error.Error()
		case r.Verdict == check.Fail:
			update.Reason = strings.Join(r.Anomalies(), ", ")
		default:
			update.Reason = strings.Join(r.Judgement.Reasons, "; ")
		}
	}
	return update
}

// keep holds a scenario's stack up until the run is interrupted.
func keep(progress report.Progress) func(context.Context, harness.Scenario, []string) {
	return func(ctx context.Context, scenario harness.Scenario, addresses []string) {
		progress.Update(report.Update{Note: "kept the stack of " + scenario.Name + " up; Ctrl-C ends it"})
		for _, line := range addresses {
			progress.Update(report.Update{Note: "  " + line})
		}
		<-ctx.Done()
	}
}

// verdict is the exit code of a run, as an error.
func verdict(summary report.Run, results []harness.Result) error {
	switch {
	case summary.Interrupted:
		return exit(exitInterrupted)
	case summary.Verdict == check.Fail:
		return exit(exitFail)
	case slices.ContainsFunc(results, func(r harness.Result) bool { return errors.Is(r.Error, harness.ErrStack) }):
		return exit(exitHarness)
	case summary.Verdict == check.Pass:
		return nil
	default:
		return exit(exitUnknown)
	}
}
