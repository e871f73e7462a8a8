package harness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/link"
)

// Schedule is faults over time. Its steps run side by side, each at its own time after the baseline;
// a step's faults are injected together. Every step is healed before the drain, whatever happened.
type Schedule []Step

// Step is one entry of a schedule, made by [During] or [At].
type Step struct {
	after, length time.Duration
	patience      time.Duration // 0 means Patience
	point         *Point
	forward       bool
	late          bool          // forward when the faults end
	lag           time.Duration // forward so long after the heal
	faults        []Fault
}

// During injects the faults after so much time, and heals them when length has passed. A fault that
// has not bitten by then keeps its window open for [Patience] more.
func During(after, length time.Duration, faults ...Fault) Step {
	return Step{after: after, length: length, faults: faults}
}

// At waits for a message: it places an order of its own, holds the message of that order that point
// names, injects the faults while it is held, and then drops it, so that the sender was cut off just
// before (a request) or never learnt of it (a response). The faults last half a second; see [Step.For].
func At(point Point, faults ...Fault) Step {
	return Step{after: 200 * time.Millisecond, length: 500 * time.Millisecond, point: &point, faults: faults}
}

// For sets how long the step's faults last.
func (s Step) For(length time.Duration) Step { s.length = length; return s }

// After sets how long after the baseline the step begins.
func (s Step) After(after time.Duration) Step { s.after = after; return s }

// Patient sets how much longer than its length the step lasts, at most, until its faults have bitten, instead of
// [Patience]: a cluster takes its time to elect a leader.
func (s Step) Patient(most time.Duration) Step { s.patience = most; return s }

// Forward lets the held message go on after the faults were injected, instead of dropping it.
func (s Step) Forward() Step { s.forward = true; return s }

// ForwardLate keeps the held message until the faults are about to be healed, and then lets it go on: its sender was paused,
// or thought dead, and what it sent arrives after all.
func (s Step) ForwardLate() Step { s.forward, s.late = true, true; return s }

// ForwardAfter keeps the held message until so long after the faults were healed, and then lets it go on: whatever its
// sender did meanwhile has overtaken it.
func (s Step) ForwardAfter(lag time.Duration) Step { s.forward, s.lag = true, lag; return s }

// Patience is how much longer a fault stays than its schedule says, to bite, where [Step.Patient] says nothing else.
const Patience = 4 * time.Second

// healTimeout bounds each heal, which runs even when the experiment was cancelled. Brokers that lost most of their
// cluster take their time to start.
const healTimeout = time.Minute

// Faults returns the faults of all steps, in order.
func (s Schedule) Faults() []Fault {
	var all []Fault
	for _, step := range s {
		all = append(all, step.faults...)
	}
	return all
}

// names lists the faults for the history's header.
func (s Schedule) names() []string {
	var names []string
	for _, fault := range s.Faults() {
		names = append(names, fault.Name()+" on "+fault.Target())
	}
	return names
}

func (s Step) validate(t Topology) []error {
	var problems []error
	if len(s.faults) == 0 {
		problems = append(problems, errors.New("a step has no faults"))
	}
	if s.point != nil {
		if s.point.topic != "" {
			if err := t.CheckTopic(s.point.topic); err != nil {
				problems = append(problems, fmt.Errorf("point %s: %w", s.point, err))
			}
		}
		if err := t.CheckLink(s.point.link()); err != nil {
			problems = append(problems, fmt.Errorf("point %s: %w", s.point, err))
		}
	}
	for _, fault := range s.faults {
		if err := fault.Validate(t); err != nil {
			problems = append(problems, fmt.Errorf("fault %s: %w", fault.Name(), err))
		}
	}
	return problems
}

// player carries out one schedule.
type player struct {
	env      *Env
	recorder *history.Recorder
	// control leaves every fault out, and measures all the same.
	control bool

	mu   sync.Mutex
	next int
}

// play runs all steps and returns when each is healed. A fault that could not be injected is no error
// here: it is in the history, and makes the run unknown. The error joins what could not be healed.
func (p *player) play(ctx context.Context, schedule Schedule) error {
	errs := make([]error, len(schedule))
	var group sync.WaitGroup
	for i, step := range schedule {
		group.Go(func() { errs[i] = p.step(ctx, step) })
	}
	group.Wait()
	return errors.Join(errs...)
}

// injection is one fault of a step between its start and its heal.
type injection struct {
	Injection
	id    int
	fault Fault
	err   error // of Inject
}

func (p *player) step(ctx context.Context, step Step) error {
	if err := sleep(ctx, step.after); err != nil {
		return err
	}
	var injections []*injection
	for _, fault := range step.faults {
		injections = append(injections, &injection{id: p.number(), fault: fault, Injection: fault.Prepare(p.env)})
	}
	release, fate := func() {}, func() error { return nil }
	if step.point != nil && !p.control {
		held, err := p.catch(ctx, *step.point)
		if err != nil {
			for _, in := range injections {
				p.record(in, history.Fault{Stage: history.Observed, Evidence: "never injected", Error: err.Error()})
			}
			return ctx.Err()
		}
		defer held.Cancel()
		release = held.Drop
		if step.forward {
			release = held.Forward
			fate = func() error { return forwarded(ctx, held, *step.point) }
		}
	}
	// From here on, heal runs whatever happens.
	for _, in := range injections {
		if !p.control {
			in.err = inject(ctx, in)
		}
		p.record(in, history.Fault{Stage: history.Injected, Error: text(in.err)})
	}
	if !step.late && step.lag == 0 {
		release()
	}
	errs := []error{p.window(ctx, step, injections)}
	if step.late {
		release()
	}
	// The last fault heals first: a fault may rest on one injected before it.
	for i := len(injections) - 1; i >= 0; i-- {
		errs = append(errs, p.end(ctx, injections[i]))
	}
	if step.lag > 0 {
		errs = append(errs, sleep(ctx, step.lag))
		release()
	}
	return errors.Join(append(errs, fate())...)
}

// injectTimeout bounds each injection; the longest restarts three brokers, one after the other.
const injectTimeout = 4 * time.Minute

func inject(ctx context.Context, in *injection) error {
	ctx, cancel := context.WithTimeoutCause(ctx, injectTimeout, fmt.Errorf("not injected after %s", injectTimeout))
	defer cancel()
	return in.Inject(ctx)
}

// forwarded demands, after the heal, that a message that was to go on did.
func forwarded(ctx context.Context, held *link.Hold, point Point) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	// It may just have been let go. What it says of a deadline that passed, is said below.
	_ = Await(ctx, "outcome of "+point.String(), func(context.Context) (bool, string, error) {
		return held.Outcome() != "", "", nil
	})
	if outcome := held.Outcome(); outcome != "forwarded" {
		return fmt.Errorf("forward %s: it was %s", point, cmp.Or(outcome, "still held"))
	}
	return nil
}

// catch holds the message that point names, of an order placed for it, on whichever of the point's links it
// comes by. Only the first is held: what another link has caught by then is forwarded.
func (p *player) catch(ctx context.Context, point Point) (*link.Hold, error) {
	var marked marked
	if point.topic == "" {
		marked = p.env.traffic.mark()
	}
	if point.reserves {
		marked.order = "" // there is none
	}
	var holds []*link.Hold
	for _, on := range p.env.Links(point.link()) {
		holds = append(holds, on.Hold(point.match(marked)))
	}
	switch {
	case point.reserves:
		p.env.traffic.reserveMarked(marked)
	case point.topic == "":
		p.env.traffic.placeMarked(marked)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if hold := first(ctx, holds); hold != nil {
		return hold, nil
	}
	of := ""
	if point.topic == "" {
		of = " of order " + marked.name()
	}
	return nil, fmt.Errorf("await %s%s on %s: %w", point, of, point.link(), ctx.Err())
}

// first waits for the first of the holds to catch its message, and cancels the others. It returns nil, with
// all cancelled, when the context ends before.
func first(ctx context.Context, holds []*link.Hold) *link.Hold {
	caught := make(chan *link.Hold, len(holds))
	var waiting sync.WaitGroup
	for _, hold := range holds {
		// Ends with the hold: every one is cancelled below, but for the winner, which has caught.
		waiting.Go(func() {
			if _, ok := <-hold.Caught(); ok {
				caught <- hold
			}
		})
	}
	var winner *link.Hold
	select {
	case winner = <-caught:
	case <-ctx.Done():
	}
	for _, hold := range holds {
		if hold != winner {
			hold.Cancel()
		}
	}
	waiting.Wait()
	return winner
}

// window keeps the faults in place for the step's length, and as much longer as it has patience until all bit.
func (p *player) window(ctx context.Context, step Step, injections []*injection) error {
	if err := sleep(ctx, step.length); err != nil {
		return err
	}
	if p.control {
		return nil
	}
	patience, cancel := context.WithTimeout(ctx, cmp.Or(step.patience, Patience))
	defer cancel()
	for _, in := range injections {
		if in.err != nil {
			continue
		}
		// A fault that never bit is no error here: the run is judged unknown, from its evidence.
		_ = Await(patience, "evidence", func(context.Context) (bool, string, error) {
			return in.Evidence().Bit, "", nil
		})
	}
	return ctx.Err()
}

func (p *player) end(ctx context.Context, in *injection) error {
	evidence := in.Evidence()
	var healing error
	if !p.control {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), healTimeout)
		healing = in.Heal(bounded)
		cancel()
	}
	p.record(in, history.Fault{Stage: history.Healed, Error: text(healing)})
	p.record(in, history.Fault{Stage: history.Observed, Bit: evidence.Bit && in.err == nil, Evidence: evidence.Effect, Error: text(in.err)})
	if healing != nil {
		return fmt.Errorf("heal %s on %s: %w", in.fault.Name(), in.fault.Target(), healing)
	}
	return nil
}

func (p *player) number() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next++
	return p.next
}

func (p *player) record(in *injection, stage history.Fault) {
	stage.ID, stage.Name, stage.Target = in.id, in.fault.Name(), in.fault.Target()
	p.recorder.Append(history.Event{Fault: &stage})
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
