package harness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ordeal-chaos/ordeal/harness/check"
	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/link"
	"github.com/ordeal-chaos/ordeal/harness/observe"
	"github.com/ordeal-chaos/ordeal/harness/stack"
	"github.com/ordeal-chaos/ordeal/harness/wire"
)

// Runner runs scenarios on one backend. Backend and Out are required. It is safe for concurrent use.
type Runner struct {
	Backend stack.Backend
	// Brokers is how many Kafka brokers each scenario gets, 1 or 3; 0 means 1.
	Brokers int
	// Out is the folder that gets one run folder per scenario: history.jsonl and logs/.
	Out string
	// Seed repeats the workload and the schedule's choices.
	Seed uint64
	// Repeat makes the one command that runs the scenario again; it is printed with every failure.
	Repeat func(Scenario) string
	// Progress is told what happens, from several goroutines; may be nil.
	Progress func(Update)
	// Control leaves every fault out and measures its evidence all the same: no fault may then bite.
	Control bool
	// Direct runs without links, to measure what they cost. No fault on a link can then be injected, and
	// the verdict is unknown.
	Direct bool
	// Keep leaves the stack of a scenario that did not pass up: it is called with the result so far and
	// the addresses, and returns when the stack may go.
	Keep func(ctx context.Context, result Result, addresses []string)

	mu    sync.Mutex
	begun map[string]bool // names of scenarios
}

// begin says whether no scenario of that name was run.
func (r *Runner) begin(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.begun == nil {
		r.begun = map[string]bool{}
	}
	known := r.begun[name]
	r.begun[name] = true
	return !known
}

// Update is one piece of news of a running scenario.
type Update struct {
	Scenario     string
	Phase        string // of [history.Phase]
	Operations   int
	Acknowledged int
	Fault        *history.Fault // just injected, healed or observed; else nil
	Result       *Result        // at the end; else nil
}

// Result is what became of a scenario. The zero value is unknown.
type Result struct {
	Scenario     Scenario
	Verdict      check.Verdict
	Judgement    check.Judgement
	View         *check.View // what was judged; nil when the run did not get that far
	Dir          string      // run folder
	History      string      // path of the history file
	Seconds      float64
	Operations   int
	Acknowledged int
	FirstOrder   time.Duration // from the call of Run to the first confirmed order; 0 for none
	Judged       time.Duration // from the call of Run until the verdict was known; 0 when it never was
	Repeat       string
	// Error is why the harness could not carry the run out; the verdict is then unknown or, when a
	// guarantee broke before, fail.
	Error error
	// Interrupted says that the context ended first, which is no error of the harness; the verdict is
	// as with one.
	Interrupted bool
}

// ErrStack marks a failure of the harness itself: the stack could not be started.
var ErrStack = errors.New("stack")

// ErrService marks a stack that could not be started for the system's sake: a service did not become ready.
var ErrService = errors.New("system")

// Run carries out one scenario: start the stack → fault-free baseline until orders flow → play the
// schedule under traffic → heal → drain → verify the observers → save → judge the saved history.
// It always returns a result; a run that was cut short is judged by what was saved, and never passes.
func (r *Runner) Run(ctx context.Context, scenario Scenario) Result {
	scenario = scenario.withDefaults()
	began := time.Now()
	result := Result{Scenario: scenario, Dir: filepath.Join(r.Out, scenario.Name)}
	if !r.begin(scenario.Name) {
		result.Error = fmt.Errorf("%w: scenario %q ran before: its history would be overwritten; give each a name of its own", ErrUsage, scenario.Name)
		return result
	}
	if r.Repeat != nil {
		result.Repeat = r.Repeat(scenario)
	}
	result.History = filepath.Join(result.Dir, "history.jsonl")
	r.tell(Update{Scenario: scenario.Name}) // its stack takes a while
	result.Error = r.Validate(scenario)
	if result.Error == nil {
		result.Error = r.carryOut(ctx, scenario, &result)
	}
	result.Seconds = time.Since(began).Seconds()
	r.tell(Update{Scenario: scenario.Name, Phase: history.End, Operations: result.Operations, Acknowledged: result.Acknowledged, Result: &result})
	return result
}

// Validate says what is wrong with the scenario on the runner's backend and brokers, as [Scenario.Validate].
func (r *Runner) Validate(scenario Scenario) error {
	if brokers := r.brokers(); brokers != 1 && brokers != 3 {
		return fmt.Errorf("%w: %d brokers: there can be one or three", ErrUsage, brokers)
	}
	return scenario.Validate(r.capabilities(), r.brokers())
}

// Versions says what runs: the backend's [stack.Backend.Versions], and the number of Kafka brokers.
func (r *Runner) Versions() map[string]string {
	versions := maps.Clone(r.Backend.Versions())
	versions["brokers"] = strconv.Itoa(r.brokers())
	return versions
}

func (r *Runner) brokers() int { return cmp.Or(r.Brokers, 1) }

func (r *Runner) capabilities() stack.Capabilities {
	if r.Backend == nil {
		return stack.Capabilities{}
	}
	return r.Backend.Capabilities()
}

// recoveries is how many fresh orders must be acknowledged after heal.
const recoveries = 6

func firstLine(err error) string {
	if err == nil {
		return "interrupted"
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// carryOut makes the experiment, runs it, and judges what it saved.
func (r *Runner) carryOut(ctx context.Context, scenario Scenario, result *Result) error {
	x := &experiment{
		runner: r, scenario: scenario, topology: scenario.topology(r.capabilities(), r.brokers()),
		dir: result.Dir, began: time.Now(), log: &eventLog{},
	}
	err := x.open(ctx, result)
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrStack, err)
	} else {
		err = x.procedure(ctx)
	}
	if err != nil && ctx.Err() != nil {
		result.Interrupted, err = true, nil // what broke then, broke because of it
	}
	result.Operations, result.Acknowledged = int(x.invoked.Load()), int(x.acknowledged.Load())
	result.FirstOrder = time.Duration(x.firstOrder.Load())
	if x.recorder == nil {
		return errors.Join(err, x.close())
	}
	if err != nil || result.Interrupted {
		x.probe(history.Probe{Name: history.ProbeHarness, Detail: firstLine(err)})
	}
	// Saved before it is judged, so that it can be judged again.
	if saving := x.recorder.Close(); saving != nil {
		return errors.Join(err, saving, x.close())
	}
	view, judgement, judging := check.JudgeFile(result.History, scenario.Guarantees)
	result.View, result.Judgement, result.Verdict = view, judgement, judgement.Verdict
	result.Judged = time.Since(x.began)
	if result.Verdict != check.Pass && r.Keep != nil && x.stack != nil && ctx.Err() == nil {
		r.Keep(ctx, *result, x.addresses())
	}
	return errors.Join(err, judging, x.close())
}

func (r *Runner) tell(u Update) {
	if r.Progress != nil {
		r.Progress(u)
	}
}

// experiment is one scenario while it runs.
type experiment struct {
	runner   *Runner
	scenario Scenario
	topology Topology
	dir      string
	began    time.Time

	recorder *history.Recorder
	log      *eventLog
	stack    *stack.Environment
	links    map[string]*link.Link
	learnt   *wire.Topics // topic ids, shared by all Kafka links
	mu       sync.Mutex   // guards nodes and services while they start
	nodes    map[string]stack.Node
	services []stack.Node
	wal      []*observe.WAL
	topics   *observe.Topics
	traffic  *traffic
	env      *Env

	// What news has seen.
	invoked, acknowledged, confirmed atomic.Int64
	firstOrder                       atomic.Int64
}

// random returns the source for one purpose, derived from the run's seed.
func (x *experiment) random(purpose string) *rand.Rand {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(x.scenario.Name + "/" + purpose)) // never fails
	return rand.New(rand.NewPCG(x.runner.Seed, hash.Sum64()))
}

// open starts the stack, the observers, the links and the services.
func (x *experiment) open(ctx context.Context, result *Result) error {
	if err := os.RemoveAll(x.dir); err != nil {
		return fmt.Errorf("clear run folder: %w", err)
	}
	if err := os.MkdirAll(x.dir, 0o755); err != nil {
		return fmt.Errorf("make run folder: %w", err)
	}
	s, backend := x.scenario, x.runner.Backend
	recorder, err := history.Create(result.History, history.Header{
		Scenario: s.Name, Design: s.System.Name, Without: s.System.Without, Seed: x.runner.Seed,
		Backend: backend.Name(), Versions: x.runner.Versions(), Started: time.Now().UTC(),
		Exercises: s.Exercises, Guarantees: s.guaranteeNames(), Faults: s.Faults.names(), Services: s.System.historyServices(), Repeat: result.Repeat,
	})
	if err != nil {
		return err
	}
	x.recorder = recorder
	recorder.Watch(x.log.add)
	recorder.Watch(x.news)
	x.stack, err = backend.New(ctx, stack.Options{
		Dir: x.dir, Databases: s.System.Databases, SeparatePostgres: s.SeparatePostgres,
		Brokers: len(x.topology.Brokers), Topics: s.System.Topics, Caches: s.System.cacheNames(), Direct: x.runner.Direct,
		Record: func(p history.Process) { recorder.Append(history.Event{Process: &p}) },
	})
	if err != nil {
		return fmt.Errorf("start stack: %w", err)
	}
	if err := x.observeAll(ctx); err != nil {
		return err
	}
	if err := x.restock(ctx); err != nil {
		return err
	}
	if err := x.wire(ctx); err != nil {
		return err
	}
	x.env = &Env{
		Topology: x.topology, links: x.links, nodes: x.nodes, stack: x.stack, recorder: recorder, log: x.log,
		traffic: x.traffic, random: x.random("schedule"),
	}
	return nil
}

// procedure is the experiment itself.
func (x *experiment) procedure(ctx context.Context) error {
	x.phase(history.Baseline)
	x.traffic.start(ctx)
	err := x.baseline(ctx)
	if err == nil {
		x.phase(history.Faults)
		player := &player{env: x.env, recorder: x.recorder, control: x.runner.Control}
		err = player.play(ctx, x.scenario.Faults)
	}
	x.phase(history.Heal)
	err = errors.Join(err, x.traffic.finish(ctx))
	if ctx.Err() != nil {
		return errors.Join(err, ctx.Err())
	}
	x.phase(history.Recovery)
	x.traffic.recover(ctx, recoveries, x.random("recovery"))
	x.phase(history.Drain)
	err = errors.Join(err, x.drain(ctx))
	x.phase(history.End)
	return err
}

// baseline waits until orders flow without a fault.
func (x *experiment) baseline(ctx context.Context) error {
	const enough = 10
	bounded, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	err := Await(bounded, fmt.Sprintf("%d confirmed orders without a fault", enough), func(context.Context) (bool, string, error) {
		n := x.confirmed.Load()
		return n >= enough, fmt.Sprintf("%d", n), nil
	})
	if err != nil {
		return fmt.Errorf("baseline: %w%s", err, x.lastLogs())
	}
	return nil
}

// news watches the history as it is written: progress, and the orders that were confirmed.
func (x *experiment) news(e history.Event) {
	if e.Op != nil {
		switch e.Op.Type {
		case history.Invoke:
			x.invoked.Add(1)
		case history.OK:
			x.acknowledged.Add(1)
		}
	}
	switch {
	case e.Row != nil && e.Row.Table == "orders" && e.Row.After["status"] == "CONFIRMED":
		if x.confirmed.Add(1) == 1 {
			x.firstOrder.Store(int64(time.Since(x.began)))
		}
	case e.Fault != nil:
		update := x.update()
		update.Fault = e.Fault
		x.runner.tell(update)
	case e.Op != nil && e.Op.Type == history.OK && e.Op.ID%16 == 0, e.Phase != nil:
		update := x.update()
		if e.Phase != nil {
			update.Phase = e.Phase.Name
		}
		x.runner.tell(update)
	}
}

func (x *experiment) update() Update {
	return Update{Scenario: x.scenario.Name, Operations: int(x.invoked.Load()), Acknowledged: int(x.acknowledged.Load())}
}

func (x *experiment) phase(name string) {
	x.recorder.Append(history.Event{Phase: &history.Phase{Name: name}})
}

// lastLogs quotes the end of each service's log, for an error.
func (x *experiment) lastLogs() string {
	text := ""
	for _, service := range x.services {
		text += fmt.Sprintf("\nlast lines of %s:", service.Name())
		for _, line := range service.LastLog(5) {
			text += "\n    " + line
		}
	}
	return text
}
