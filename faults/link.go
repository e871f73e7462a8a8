package faults

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/link"
)

// heal undoes what was done to one link; nil when there is nothing to undo.
type heal func(context.Context) error

// linkFault is a fault on every link that its pattern names.
type linkFault struct {
	onLinks
	name string
	// inject breaks one link and returns how to mend it.
	inject func(*link.Link) (heal, error)
	// moved counts the bytes that must not pass once the fault is in force; nil when some may. The window begins
	// when none did for a while.
	moved func(link.Measure) int64
	// judge says whether the fault bit one link: before was measured from Prepare, during from Inject.
	// Without an injection the two are the same.
	judge func(before, during link.Measure) harness.Evidence
}

func (f linkFault) Name() string { return f.name }

func (f linkFault) Prepare(env *harness.Env) harness.Injection {
	injection := &linkInjection{fault: f}
	for _, on := range env.Links(f.pattern) {
		injection.broken = append(injection.broken, brokenLink{link: on, before: on.Watch()})
	}
	return injection
}

// linkInjection is one use of a link fault.
type linkInjection struct {
	fault  linkFault
	broken []brokenLink
}

type brokenLink struct {
	link           *link.Link
	before, during *link.Window
	mend           heal
}

func (i *linkInjection) Inject(ctx context.Context) error {
	var errs []error
	for n := range i.broken {
		mend, err := i.fault.inject(i.broken[n].link)
		i.broken[n].mend = mend
		errs = append(errs, err)
	}
	errs = append(errs, whenStill(ctx, i.watch))
	return errors.Join(errs...)
}

// watch begins the windows anew. What says whether anything moved since says no where something may.
func (i *linkInjection) watch() (moved func() bool) {
	for n := range i.broken {
		if old := i.broken[n].during; old != nil {
			old.Stop()
		}
		i.broken[n].during = i.broken[n].link.Watch()
	}
	return func() bool {
		return i.fault.moved != nil && slices.ContainsFunc(i.broken, func(b brokenLink) bool {
			return i.fault.moved(b.during.Measure()) > 0
		})
	}
}

func (i *linkInjection) Heal(ctx context.Context) error {
	var errs []error
	for n, broken := range i.broken {
		if broken.mend != nil {
			errs = append(errs, broken.mend(ctx))
			i.broken[n].mend = nil
		}
		broken.before.Stop()
		if broken.during != nil {
			broken.during.Stop()
		}
	}
	return errors.Join(errs...)
}

// Evidence demands a bite on every link: a pattern that reaches an idle link proves nothing about it.
func (i *linkInjection) Evidence() harness.Evidence {
	all := harness.Evidence{Bit: true}
	for _, broken := range i.broken {
		before := broken.before.Measure()
		during := before
		if broken.during != nil {
			during = broken.during.Measure()
		}
		one := i.fault.judge(before, during)
		all.Bit = all.Bit && one.Bit
		if all.Effect != "" {
			all.Effect += "; "
		}
		if len(i.broken) > 1 {
			all.Effect += broken.link.Name() + ": "
		}
		all.Effect += one.Effect
	}
	return all
}

// healed makes a heal of a function that cannot fail or wait.
func healed(undo func()) heal {
	return func(context.Context) error { undo(); return nil }
}

func milliseconds(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
