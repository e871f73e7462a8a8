package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	ordeal "github.com/ordeal-chaos/ordeal"
	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/report"
	"github.com/ordeal-chaos/ordeal/harness/stack"
)

// runsFolder is where the runs are kept, in the report's folder.
const runsFolder = "runs"

// campaign runs mutants, each with its bug and without it, so many at a time.
type campaign struct {
	flags    mutantFlags
	ids      []string // as the user named them; none for all
	mutants  []ordeal.Mutant
	out      string
	backend  stack.Backend
	progress report.Progress
	versions map[string]string

	mu      sync.Mutex // guards what follows, and everything of trials and experiments that is not set up beforehand
	entries []*entry
	broken  bool  // the harness could not carry a run out
	swept   error // of removing runs
}

// entry is a mutant with its trials.
type entry struct {
	ordeal.Mutant
	planted, sound harness.Scenario
	leftOut        bool
	trials         []*trial
}

// trial is one repeat of a mutant: its run with the bug, and the one without, which others may share.
type trial struct {
	seed           uint64
	planted, sound *experiment
	verdict        ordeal.MutantVerdict // "" until both runs are there
	detail         string
}

// experiment is one run of a scenario.
type experiment struct {
	name     string // for people
	dir      string // folder of the runner, below that of the report
	scenario harness.Scenario
	mutant   ordeal.Mutant // whose bug it has; none for a run without
	seed     uint64
	repeat   string
	users    []user // the trials that wait for it
	done     bool   // seen is there
	seen     ordeal.MutantRun
	judged   int  // trials with a verdict
	wanted   bool // kept, because some trial of it was not killed
}

// user is a trial with the mutant that it is of.
type user struct {
	mutant ordeal.Mutant
	trial  *trial
}

// run runs every experiment, in the order of the repeats and of the table; each one without a bug right behind the first
// that needs it. It returns when all that were begun have ended.
func (c *campaign) run(ctx context.Context) {
	experiments := c.plan()
	slots := make(chan struct{}, c.flags.parallel)
	var group sync.WaitGroup
	for _, x := range experiments {
		slots <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		group.Go(func() {
			defer func() { <-slots }()
			c.conduct(ctx, x)
		})
	}
	group.Wait()
	c.swept = errors.Join(c.swept, removeEmpty(filepath.Join(c.out, runsFolder)))
}

// plan makes the trials and their experiments.
func (c *campaign) plan() []*experiment {
	var all []*experiment
	shared := map[string]*experiment{}
	for n := range c.flags.repeat {
		seed := c.flags.seed + uint64(n)
		for _, e := range c.entries {
			if e.Unplantable != "" || e.leftOut {
				continue
			}
			t := &trial{seed: seed}
			e.trials = append(e.trials, t)
			t.planted = c.experiment(e.ID, e.planted, seed)
			t.planted.mutant = e.Mutant
			all = append(all, t.planted)
			key := fmt.Sprintf("%s %s %d", e.SoundDesign(), e.Scenario, seed)
			if t.sound = shared[key]; t.sound == nil {
				t.sound = c.experiment(e.SoundDesign(), e.sound, seed)
				shared[key] = t.sound
				all = append(all, t.sound)
			}
			for _, x := range []*experiment{t.planted, t.sound} {
				x.users = append(x.users, user{e.Mutant, t})
			}
		}
	}
	return all
}

func (c *campaign) experiment(of string, scenario harness.Scenario, seed uint64) *experiment {
	x := &experiment{name: of + " " + scenario.Name, dir: filepath.Join(runsFolder, of), scenario: scenario, seed: seed}
	if c.flags.repeat > 1 {
		x.name += fmt.Sprintf(" #%d", seed)
		x.dir = filepath.Join(x.dir, fmt.Sprintf("seed-%d", seed))
	}
	again := c.flags.runFlags
	again.seed, again.design, again.without = seed, scenario.System.Name, scenario.System.Without
	x.repeat = repeat(again, scenario.Name)
	return x
}

// conduct runs one experiment and gives the verdicts that it was missing for. Each has a runner of its own: the name of the scenario
// is what its seed works on, and so the same for both runs of a trial.
func (c *campaign) conduct(ctx context.Context, x *experiment) {
	runner := &harness.Runner{
		Backend: c.backend, Brokers: c.flags.brokers, Out: filepath.Join(c.out, x.dir), Seed: x.seed,
		Repeat: func(harness.Scenario) string { return x.repeat },
		Progress: func(u harness.Update) {
			update := shown(u)
			update.Scenario = x.name
			c.progress.Update(update)
		},
	}
	result := runner.Run(ctx, x.scenario)
	seen := ordeal.ObserveMutant(x.mutant, result)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.versions = runner.Versions()
	if result.Interrupted {
		return
	}
	c.broken = c.broken || errors.Is(result.Error, harness.ErrStack)
	x.seen, x.done = seen, true
	for _, u := range x.users {
		c.judge(u)
	}
}

// judge gives the verdict on a trial when both its runs are there, and removes runs that nobody needs any more.
func (c *campaign) judge(u user) {
	t := u.trial
	if t.verdict != "" || !t.planted.done || !t.sound.done {
		return
	}
	t.verdict, t.detail = ordeal.JudgeMutant(u.mutant, t.planted.seen, t.sound.seen)
	c.progress.Update(report.Update{Note: fmt.Sprintf("%s is %s: %s", t.planted.name, t.verdict, t.detail)})
	for _, x := range []*experiment{t.planted, t.sound} {
		x.judged++
		x.wanted = x.wanted || t.verdict != ordeal.Killed || c.flags.keepAll
		if x.judged == len(x.users) && !x.wanted {
			c.swept = errors.Join(c.swept, os.RemoveAll(filepath.Join(c.out, x.folder())))
		}
	}
}

// folder is where the run is, below the report's folder.
func (x *experiment) folder() string { return filepath.Join(x.dir, x.scenario.Name) }

// removeEmpty removes the folders, dir too, that hold nothing but such folders.
func removeEmpty(dir string) error {
	below, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil // nothing ran
	}
	if err != nil {
		return err
	}
	left := len(below)
	for _, entry := range below {
		path := filepath.Join(dir, entry.Name())
		if !entry.IsDir() {
			continue
		}
		if err := removeEmpty(path); err != nil {
			return err
		}
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			left--
		}
	}
	if left > 0 {
		return nil
	}
	return os.Remove(dir)
}

// incomplete says whether a trial has no verdict.
func (c *campaign) incomplete() bool {
	for _, e := range c.entries {
		for _, t := range e.trials {
			if t.verdict == "" {
				return true
			}
		}
	}
	return false
}
