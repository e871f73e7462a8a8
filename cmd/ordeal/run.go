package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/check"
	"github.com/ordeal-chaos/ordeal/harness/report"
	"github.com/ordeal-chaos/ordeal/harness/stack"
	"github.com/ordeal-chaos/ordeal/services"
)

// runFlags are the settings of one `ordeal run`.
type runFlags struct {
	design   string
	without  []string
	choice   stack.Choice
	brokers  int
	faults   []string
	seed     uint64
	parallel int // 0 means as many as usual
	out      string
	json     bool
	keep     bool
}

func runCommand() *cobra.Command {
	var flags runFlags
	command := &cobra.Command{
		Use:   "run [SCENARIO…]",
		Short: "Run scenarios (all of them by default) and write the report",
		Long: `Run scenarios, all of them by default, and write the report: index.html for people, summary.md and
junit.xml for CI, report.json for programs, and the history of each scenario for ordeal check.

` + environmentHelp + `

Scenarios that need three brokers are left out of a run that has fewer, and so are those that need what the
design does not have; the report says so.`,
		Example: `  ordeal run
  ordeal run broker-outage postgres-crash --seed 7
  ordeal run --without inbox-dedup
  ordeal run redelivery --design version-column+ack-record
  ordeal run calm --fault 'latency:order->postgres'
  ordeal run redelivery --without inbox-dedup --keep
  ordeal run --backend containers --brokers 3
  ordeal run --json --out /tmp/report > result.json`,
		ValidArgsFunction: completeScenarios,
		RunE: func(c *cobra.Command, names []string) error {
			if !c.Flags().Changed("seed") {
				flags.seed = harness.NewSeed()
			}
			if c.Flags().Changed("parallel") && flags.parallel < 1 {
				return fmt.Errorf("%w: --parallel %d: at least one scenario must run at a time", harness.ErrUsage, flags.parallel)
			}
			if err := flags.settleBackend(c.Flags()); err != nil {
				return err
			}
			return run(c.Context(), flags, names)
		},
	}
	f := command.Flags()
	f.StringVar(&flags.design, "design", services.Sound, "`NAME` of the design, or its parts joined by + (see ordeal list --designs)")
	f.StringSliceVar(&flags.without, "without", nil, "remove `GUARDS` (a comma between two) of the design, to plant a bug (see ordeal list)")
	flags.defineBackend(f)
	f.StringArrayVar(&flags.faults, "fault", nil, "add a fault, `KIND:TARGET`, to every scenario chosen (see ordeal list)")
	f.Uint64Var(&flags.seed, "seed", 0, "`N` of the run whose workload to repeat (default a new one)")
	f.IntVar(&flags.parallel, "parallel", 0, "`N` scenarios at a time (default two for each CPU; in containers a CPU for each broker)")
	f.StringVar(&flags.out, "out", "ordeal-report", "`DIR` for the report and the histories")
	f.BoolVar(&flags.json, "json", false, "print one JSON object instead of the table")
	f.BoolVar(&flags.keep, "keep", false, "leave the stack of a scenario that did not pass up until Ctrl-C, and print its addresses")
	completeBackend(command)
	for flag, complete := range map[string]cobra.CompletionFunc{"without": completeGuards, "fault": completeFaults, "design": completeDesigns} {
		if err := command.RegisterFlagCompletionFunc(flag, complete); err != nil {
			panic(err) // the flag is not defined above
		}
	}
	if err := command.MarkFlagDirname("out"); err != nil {
		panic(err) // likewise
	}
	return command
}

// run carries out the command. Everything that can be known beforehand is checked before anything
// starts. The error is an [exit] only when all went as it should and the verdict decides.
func run(ctx context.Context, flags runFlags, names []string) error {
	selected, err := choose(&flags, names)
	if err != nil {
		return err
	}
	if flags.choice.Backend != auto {
		if err := selected.fit(capabilities(flags.choice.Backend), flags.brokers); err != nil {
			return err
		}
	}
	out, err := filepath.Abs(flags.out)
	if err != nil {
		return fmt.Errorf("find --out %s: %w", flags.out, err)
	}
	if err := report.Preflight(out); err != nil {
		return err
	}
	began := time.Now()
	progress := report.NewProgress(os.Stderr)
	backend, err := open(ctx, &flags, func(on stack.Capabilities) error { return selected.fit(on, flags.brokers) }, progress)
	if err != nil {
		return errors.Join(err, progress.Close())
	}
	runner := &harness.Runner{
		Backend: backend, Brokers: flags.brokers, Out: out, Seed: flags.seed,
		Repeat:   func(s harness.Scenario) string { return repeat(flags, s.Name) },
		Progress: func(u harness.Update) { progress.Update(shown(u)) },
	}
	if flags.keep {
		runner.Keep = keep(progress)
	}
	for _, note := range selected.remarks() {
		progress.Update(report.Update{Note: note})
	}
	results := runAll(ctx, runner, selected.scenarios, flags.parallel)

	summary := harness.Summarize(results)
	summary.Seed, summary.Backend, summary.Versions = flags.seed, backend.Name(), runner.Versions()
	summary.Started, summary.Seconds = began.UTC(), time.Since(began).Seconds()
	summary.Interrupted = cutShort(results, len(selected.scenarios))
	summary.Repeat = repeat(flags, names...)
	summary.LeftOut, summary.Notes = selected.leftOut, selected.notes
	err = errors.Join(
		backend.Close(),
		report.WriteAll(out, summary),
		progress.Close(), // before the table: they may share the terminal
		show(os.Stdout, flags, summary),
	)
	if err != nil {
		return err
	}
	return verdict(summary, results)
}

// open opens the backend, and completes the settings that depend on which one it is: with auto, it is fitted to what that can.
func open(ctx context.Context, flags *runFlags, fit func(stack.Capabilities) error, progress report.Progress) (stack.Backend, error) {
	flags.choice.Log = func(line string) { progress.Update(report.Update{Note: line}) }
	backend, err := stack.Open(ctx, flags.choice)
	if err != nil {
		return nil, notStarted(ctx, flags.choice.Backend, err)
	}
	if flags.choice.Backend == auto {
		flags.choice.Backend = backend.Name()
		if err := fit(backend.Capabilities()); err != nil {
			return nil, errors.Join(err, backend.Close())
		}
	}
	if flags.parallel == 0 {
		flags.parallel = usualParallel(backend.Name(), flags.brokers)
	}
	return backend, nil
}

// notStarted explains why there is no backend.
func notStarted(ctx context.Context, backend string, err error) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("start %s backend: %w", backend, ctx.Err()) // what broke then, broke because of it
	case errors.Is(err, stack.ErrChoice):
		return fmt.Errorf("%w: %w", harness.ErrUsage, err)
	case backend == containers:
		return err // it says what to do
	}
	return fmt.Errorf("%w\n`ordeal doctor` says what is missing here and how to install it", err)
}

// show prints the end of a run.
func show(w io.Writer, flags runFlags, summary report.Run) error {
	if flags.json {
		return report.WriteJSON(w, summary)
	}
	if err := report.WriteTerminal(w, summary, report.Colour(os.Stdout)); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nreport: %s\n", filepath.Join(flags.out, report.HTMLFile))
	return err
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

// cutShort says whether an interruption cost the run anything. It does not if only a stack was kept up.
func cutShort(results []harness.Result, planned int) bool {
	return len(results) < planned || slices.ContainsFunc(results, func(r harness.Result) bool { return r.Interrupted })
}

// repeat is the command that runs the same again, by the program's name as the user wrote it.
func repeat(flags runFlags, names ...string) string {
	words := append([]string{bare(os.Args[0]), "run"}, names...)
	if flags.design != services.Sound {
		words = append(words, "--design", flags.design)
	}
	if len(flags.without) > 0 {
		words = append(words, "--without", strings.Join(flags.without, ","))
	}
	for _, fault := range flags.faults {
		words = append(words, "--fault", quoted(fault))
	}
	words = append(words, flags.backendWords()...)
	return strings.Join(append(words, "--seed", fmt.Sprint(flags.seed)), " ")
}

// bare is a word as it is where a shell takes it for one word, else quoted.
func bare(word string) string {
	special := func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("/._+,:@%-", r)
	}
	if word == "" || strings.ContainsFunc(word, special) {
		return quoted(word)
	}
	return word
}

// quoted protects a word from a shell.
func quoted(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }

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
