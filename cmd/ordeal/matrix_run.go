package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	ordeal "github.com/ordeal-chaos/ordeal"
	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/check"
	"github.com/ordeal-chaos/ordeal/harness/matrix"
	"github.com/ordeal-chaos/ordeal/harness/report"
	"github.com/ordeal-chaos/ordeal/harness/stack"
)

// matrixSession is one call of ordeal matrix at work.
type matrixSession struct {
	flags    matrixFlags
	backend  stack.Backend
	grid     ordeal.Grid
	book     *matrix.Book
	progress report.Progress

	mu      sync.Mutex
	runners map[string]*harness.Runner // by folder
	done    int                        // runs of this session
	failed  error                      // of the harness
}

// run does all that is left to do. What it did is in the book also with an error.
func (s *matrixSession) run(ctx context.Context) error {
	err := s.price(ctx)
	if err == nil {
		err = s.cells(ctx)
	}
	for _, folder := range []string{runsFolder, "price"} {
		prune(filepath.Join(s.flags.out, folder))
	}
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted: --resume goes on with the matrix in %s: %w", s.flags.out, errors.Join(ctx.Err(), s.broken()))
	case err != nil:
		return err
	}
	return s.book.End()
}

// prune removes the folders below dir, and dir, in which nothing was kept.
func prune(dir string) {
	entries, _ := os.ReadDir(dir) // there may be none
	for _, entry := range entries {
		if entry.IsDir() {
			prune(filepath.Join(dir, entry.Name()))
		}
	}
	_ = os.Remove(dir) // one that is not empty stays
}

// price measures one design after the other, with nothing beside it.
func (s *matrixSession) price(ctx context.Context) error {
	left := s.book.LeftToPrice()
	runner := &harness.Runner{Backend: s.backend, Brokers: s.flags.brokers, Out: s.flags.out}
	began := time.Now()
	for i, design := range left {
		s.note("%s: measuring its price, %d of %d%s", design, i+1, len(left), remaining(time.Since(began), i, len(left)))
		figures, err := runner.Price(ctx, s.grid.System(design), *s.book.Settings.Price)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		priced := matrix.Priced{Design: design, Figures: figures}
		switch {
		case errors.Is(err, harness.ErrStack):
			return err
		case err != nil:
			priced.Error = err.Error()
			s.note("%s: %s", design, firstLine(err.Error()))
		}
		if err := s.book.AddPrice(priced); err != nil {
			return err
		}
	}
	return nil
}

// cells runs what is left of the cells, so many at a time.
func (s *matrixSession) cells(ctx context.Context) error {
	jobs := s.book.LeftToRun()
	s.runners = map[string]*harness.Runner{}
	began := time.Now()
	slots := make(chan struct{}, s.flags.parallel)
	var group sync.WaitGroup
	for _, job := range jobs {
		slots <- struct{}{}
		if ctx.Err() != nil || s.broken() != nil {
			break
		}
		group.Go(func() {
			defer func() { <-slots }()
			if err := s.cell(ctx, job); err != nil {
				s.mu.Lock()
				s.failed = errors.Join(s.failed, err)
				s.mu.Unlock()
				return
			}
			s.mu.Lock()
			s.done++
			done := s.done
			s.mu.Unlock()
			if ctx.Err() == nil {
				s.note("%d of %d runs%s", done, len(jobs), remaining(time.Since(began), done, len(jobs)))
			}
		})
	}
	group.Wait()
	return s.broken()
}

func (s *matrixSession) broken() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// runner is that of a design and a repeat: one runner runs each scenario once.
func (s *matrixSession) runner(job matrix.Job) *harness.Runner {
	folder := filepath.Join(runsFolder, job.Design, strconv.Itoa(job.Repeat+1))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.runners[folder] == nil {
		flags := s.flags.runFlags
		flags.design, flags.seed = job.Design, job.Seed
		s.runners[folder] = &harness.Runner{
			Backend: s.backend, Brokers: flags.brokers, Out: filepath.Join(s.flags.out, folder), Seed: job.Seed,
			Repeat: func(scenario harness.Scenario) string { return repeat(flags, scenario.Name) },
			Progress: func(u harness.Update) {
				update := shown(u)
				update.Scenario = s.label(job, u.Scenario)
				s.progress.Update(update)
			},
		}
	}
	return s.runners[folder]
}

func (s *matrixSession) label(job matrix.Job, scenario string) string {
	label := job.Design + " " + scenario
	if s.book.Settings.Repeat > 1 {
		label += fmt.Sprintf(" #%d", job.Repeat+1)
	}
	return label
}

// cell makes one run and saves what became of it. A run that was interrupted, or that the harness could not
// carry out, is as if it had not been made.
func (s *matrixSession) cell(ctx context.Context, job matrix.Job) error {
	runner := s.runner(job)
	result := runner.Run(ctx, s.grid.Scenario(job.Design, job.Scenario))
	if result.Interrupted || ctx.Err() != nil && result.Verdict == check.Unknown {
		return os.RemoveAll(result.Dir)
	}
	if errors.Is(result.Error, harness.ErrUsage) || errors.Is(result.Error, harness.ErrStack) && !errors.Is(result.Error, harness.ErrService) {
		return fmt.Errorf("%s: %w", s.label(job, job.Scenario), result.Error)
	}
	run := recorded(job, result)
	folder := filepath.Join(runsFolder, job.Design, strconv.Itoa(job.Repeat+1))
	if s.book.Worth(run) {
		run.History = filepath.Join(folder, job.Scenario)
		return s.book.AddRun(run)
	}
	if err := s.book.AddRun(run); err != nil {
		return err
	}
	if err := os.RemoveAll(result.Dir); err != nil {
		return fmt.Errorf("remove history: %w", err)
	}
	return nil
}

// recorded is what the matrix keeps of a result.
func recorded(job matrix.Job, result harness.Result) matrix.Run {
	run := matrix.Run{
		Design: job.Design, Scenario: job.Scenario, Repeat: job.Repeat, Seed: job.Seed,
		Verdict: result.Verdict, Anomalies: []string{}, Held: []string{}, Broken: []string{}, Unclear: []string{},
		Seconds: result.Seconds, Command: result.Repeat,
	}
	switch {
	case errors.Is(result.Error, harness.ErrService):
		// Its exit is in the history, but says nothing about what the design guarantees once it runs.
		run.Verdict, run.Reason = check.Unknown, firstLine(result.Error.Error())
		return run
	case result.Verdict == check.Fail:
		run.Anomalies = result.Anomalies()
	case result.Error != nil:
		run.Verdict, run.Reason = check.Unknown, firstLine(result.Error.Error())
	case result.Verdict == check.Unknown:
		run.Reason = strings.Join(result.Judgement.Reasons, "; ")
	}
	for _, guarantee := range result.Judgement.Results {
		switch {
		case guarantee.Skipped:
		case guarantee.Verdict == check.Pass:
			run.Held = append(run.Held, guarantee.Name)
		case guarantee.Verdict == check.Fail:
			run.Broken = append(run.Broken, guarantee.Name)
		default:
			run.Unclear = append(run.Unclear, guarantee.Name)
		}
	}
	return run
}

func (s *matrixSession) note(format string, args ...any) {
	s.progress.Update(report.Update{Note: fmt.Sprintf(format, args...)})
}

// remaining says how long the rest takes if it goes on like this: ", about 3m20s left".
func remaining(elapsed time.Duration, done, total int) string {
	if done == 0 || done >= total {
		return ""
	}
	rest := elapsed / time.Duration(done) * time.Duration(total-done)
	return fmt.Sprintf(", about %s left", max(rest.Round(time.Second), time.Second))
}
