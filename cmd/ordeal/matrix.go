package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	ordeal "github.com/ordeal-chaos/ordeal"
	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/matrix"
	"github.com/ordeal-chaos/ordeal/harness/price"
	"github.com/ordeal-chaos/ordeal/harness/report"
	"github.com/ordeal-chaos/ordeal/harness/stack"
)

// matrixFlags are the settings of one `ordeal matrix`.
type matrixFlags struct {
	runFlags  // backend, seed, parallel, out, json
	designs   []string
	scenarios []string
	repeat    int
	resume    bool
	noPrice   bool
	seedGiven bool
}

func matrixCommand() *cobra.Command {
	var flags matrixFlags
	command := &cobra.Command{
		Use:   "matrix",
		Short: "Run designs against scenarios: what each guarantees in fact, and what it costs",
		Long: `Run every design in every scenario, under the same schedules and seeds (repeat r has seed N+r in all
designs), and print of each cell whether the guarantees hold, which anomalies broke them in how many runs (with the Wilson
interval of 95 %), or why nothing is known; what the literature expects beside it, differences marked ≠; and what each
design costs. Without --scenarios it runs those that tell designs apart:

` + tellingHelp() + `
Prices come first, one design at a time with nothing beside it: no fault, no link, no tap, the default replica identity,
services started afresh for each of two loads.
  orders/s  confirmed orders a second, by the times of their commits, with 16 clients that never rest; without the warm-up
            and the first and last tenth
  p50, p99  from the moment before the client sends its request to the COMMIT of the row CONFIRMED, by the commit's time
            stamp in the write-ahead log, at 50 orders a second, as the figures below
  commits   of database transactions per confirmed order, reading ones too (pg_stat_database), without the harness' own
  WAL       bytes of write-ahead log per confirmed order, of all databases (pg_current_wal_lsn)
  records   Kafka records per confirmed order: the offsets taken in all topics
The last three cover everything from the start of the services to rest, so that relays and sweepers are in it.

Each finished run and price is saved in DIR/matrix.jsonl at once; --resume goes on with an interrupted matrix of the same
settings. Results are in DIR/matrix.md and DIR/matrix.json. Histories are kept of the first run of each cell that
names an anomaly, or is unknown.

` + environmentHelp + `

Exit codes: 0 whatever broke, 2 when a cell is unknown, 64 usage, 70 the harness itself failed, 130 interrupted.`,
		Example: `  ordeal matrix --repeat 3
  ordeal matrix --designs sound,after-commit,in-transaction --scenarios killed-after-commit,redelivery
  ordeal matrix --designs version-column+ack-record --scenarios all --no-price
  ordeal matrix --resume
  ordeal matrix --repeat 0                     # prices only`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			flags.seedGiven = c.Flags().Changed("seed")
			switch {
			case flags.repeat < 0:
				return fmt.Errorf("%w: --repeat %d: it cannot be negative", harness.ErrUsage, flags.repeat)
			case flags.repeat == 0 && flags.noPrice:
				return fmt.Errorf("%w: --repeat 0 runs no scenario, and --no-price measures no price: nothing is left", harness.ErrUsage)
			case c.Flags().Changed("parallel") && flags.parallel < 1:
				return fmt.Errorf("%w: --parallel %d: at least one scenario must run at a time", harness.ErrUsage, flags.parallel)
			}
			if err := flags.settleBackend(c.Flags()); err != nil {
				return err
			}
			return runMatrix(c.Context(), flags)
		},
	}
	f := command.Flags()
	f.StringSliceVar(&flags.designs, "designs", nil, "`NAMES` of designs, or parts joined by + (default all named designs, see ordeal list)")
	f.StringSliceVar(&flags.scenarios, "scenarios", nil, "`NAMES` of scenarios, or all (default those above)")
	f.IntVar(&flags.repeat, "repeat", 1, "run each cell `N` times, with consecutive seeds; 0 measures prices only")
	f.BoolVar(&flags.resume, "resume", false, "go on with the matrix in DIR")
	f.BoolVar(&flags.noPrice, "no-price", false, "do not measure prices")
	flags.defineBackend(f)
	f.Uint64Var(&flags.seed, "seed", 0, "`N` of the first repeat (default a new one, or that of the matrix to resume)")
	f.IntVar(&flags.parallel, "parallel", 0, "`N` scenarios at a time (default two for each CPU; in containers a CPU for each broker)")
	f.StringVar(&flags.out, "out", "ordeal-matrix", "`DIR` for the results and the histories")
	f.BoolVar(&flags.json, "json", false, "print one JSON object instead of the tables")
	completions := map[string]cobra.CompletionFunc{"designs": completeMatrixDesigns, "scenarios": completeMatrixScenarios}
	for _, s := range backendSettings {
		completions[s.flag] = cobra.FixedCompletions(s.values, cobra.ShellCompDirectiveNoFileComp)
	}
	for flag, complete := range completions {
		if err := command.RegisterFlagCompletionFunc(flag, complete); err != nil {
			panic(err) // the flag is not defined above
		}
	}
	if err := command.MarkFlagDirname("out"); err != nil {
		panic(err) // likewise
	}
	return command
}

// tellingHelp lists the scenarios that are run by default.
func tellingHelp() string {
	var text strings.Builder
	catalogue := ordeal.Catalogue(ordeal.Sound)
	for _, s := range ordeal.Telling() {
		for _, scenario := range catalogue {
			if scenario.Name == s.Name {
				fmt.Fprintf(&text, "  %-3s %-21s %s\n", s.Code, s.Name, scenario.About)
			}
		}
	}
	return text.String()
}

// completeMatrixDesigns offers designs for the last place of a comma-separated list.
func completeMatrixDesigns(c *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	before := typed[:strings.LastIndexByte(typed, ',')+1]
	offers, directive := completeDesigns(c, args, typed[len(before):])
	for i := range offers {
		offers[i] = before + offers[i]
	}
	return offers, directive
}

func completeMatrixScenarios(c *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	before := typed[:strings.LastIndexByte(typed, ',')+1]
	offers, directive := completeScenarios(c, strings.Split(before, ","), typed)
	for i := range offers {
		offers[i] = before + offers[i]
	}
	return offers, directive
}

// runMatrix carries out the command. What can be known beforehand is checked before anything starts.
func runMatrix(ctx context.Context, flags matrixFlags) (err error) {
	if flags.choice.Backend != auto {
		if _, err := ordeal.NewGrid(flags.designs, flags.scenarios, capabilities(flags.choice.Backend), flags.brokers); err != nil {
			return err
		}
	}
	if flags.out, err = filepath.Abs(flags.out); err != nil {
		return fmt.Errorf("find --out: %w", err)
	}
	if err := report.Preflight(flags.out); err != nil {
		return err
	}
	if err := flags.settleSeed(); err != nil {
		return err
	}
	progress := report.NewProgress(os.Stderr)
	backend, err := open(ctx, &flags.runFlags, func(stack.Capabilities) error { return nil }, progress)
	if err != nil {
		return errors.Join(err, progress.Close())
	}
	grid, err := ordeal.NewGrid(flags.designs, flags.scenarios, backend.Capabilities(), flags.brokers)
	if err != nil {
		return errors.Join(err, backend.Close(), progress.Close())
	}
	runner := harness.Runner{Backend: backend, Brokers: flags.brokers}
	book, err := flags.book(grid, backend.Name(), runner.Versions())
	if err != nil {
		return errors.Join(err, backend.Close(), progress.Close())
	}
	for _, note := range grid.Notes() {
		progress.Update(report.Update{Note: note})
	}
	session := &matrixSession{flags: flags, backend: backend, grid: grid, book: book, progress: progress}
	err = session.run(ctx)
	result := book.Matrix()
	err = errors.Join(err, book.Close(), backend.Close(), saveMatrix(flags.out, result), progress.Close(), showMatrix(os.Stdout, flags, result))
	switch {
	case err != nil:
		return err
	case result.UnknownCells() > 0:
		return exit(exitUnknown)
	}
	return nil
}

// settleSeed chooses the seed: that of the matrix to resume, unless the user named one. A matrix that is not done is not
// thrown away.
func (flags *matrixFlags) settleSeed() error {
	book, err := matrix.Read(flags.out)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		flags.resume = false // nothing is there yet
	case err != nil:
		return err
	case flags.resume && !flags.seedGiven:
		flags.seed = book.Settings.Seed
		return nil
	case !flags.resume && !book.Done():
		return fmt.Errorf("%w: %s holds a matrix that is not done: go on with it by --resume, choose another --out, or remove it",
			harness.ErrUsage, flags.out)
	}
	if !flags.seedGiven {
		flags.seed = harness.NewSeed()
	}
	return nil
}

// book opens the book of the matrix to resume, or begins one.
func (flags matrixFlags) book(grid ordeal.Grid, backend string, versions map[string]string) (*matrix.Book, error) {
	versions["ordeal"] = root().Version
	settings := matrix.Settings{
		Seed: flags.seed, Repeat: flags.repeat, Backend: backend, Versions: versions,
		Designs: grid.Designs, Scenarios: grid.Scenarios, Absent: grid.Absent,
	}
	if flags.repeat == 0 {
		settings.Scenarios, settings.Absent = []matrix.Scenario{}, []matrix.Absence{}
	}
	if !flags.noPrice {
		plan := price.Plan{}.WithDefaults()
		settings.Price = &plan
	}
	if flags.resume {
		book, err := matrix.Resume(flags.out, settings)
		var different *matrix.DifferentError
		if errors.As(err, &different) {
			return nil, fmt.Errorf("%w: --resume: %w", harness.ErrUsage, err)
		}
		return book, err
	}
	for _, folder := range []string{runsFolder, "price"} { // of an older matrix
		if err := os.RemoveAll(filepath.Join(flags.out, folder)); err != nil {
			return nil, fmt.Errorf("remove older histories: %w", err)
		}
	}
	return matrix.Create(flags.out, settings)
}

// showMatrix prints the end of a matrix.
func showMatrix(w io.Writer, flags matrixFlags, m matrix.Matrix) error {
	if flags.json {
		return matrix.WriteJSON(w, m)
	}
	if err := matrix.WriteText(w, m, matrix.Style{Columns: report.Columns(os.Stdout), Colour: report.Colour(os.Stdout)}); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "report: %s\n", filepath.Join(flags.out, matrixPage))
	return err
}

// Names of the files with the results.
const (
	matrixPage = "matrix.md"
	matrixJSON = "matrix.json"
)

// saveMatrix writes the results, each whole or not at all.
func saveMatrix(dir string, m matrix.Matrix) error {
	save := func(name string, write func(io.Writer, matrix.Matrix) error) error {
		part := filepath.Join(dir, "."+name+".part")
		file, err := os.Create(part)
		if err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		if err := errors.Join(write(file, m), file.Close()); err != nil {
			return fmt.Errorf("write %s: %w", name, errors.Join(err, os.Remove(part)))
		}
		return os.Rename(part, filepath.Join(dir, name))
	}
	return errors.Join(save(matrixPage, matrix.WriteMarkdown), save(matrixJSON, matrix.WriteJSON))
}
