package harness

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/observe"
	"github.com/ordeal-chaos/ordeal/harness/stack"
)

// drain waits until all work has ended, then proves that the observers saw all of it and that no
// connection walked round its link. All findings are probes in the history: judging needs nothing else.
func (x *experiment) drain(ctx context.Context) error {
	quiescent := observe.Drain(ctx, observe.DrainConfig{
		Sources: x.sources(), Recorder: x.recorder, Deadline: x.scenario.Drain, Longest: x.scenario.System.Longest,
	})
	x.probe(quiescent)
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	errs := []error{ctx.Err()}
	for _, tap := range x.wal {
		probes, err := tap.Verify(ctx)
		errs = append(errs, err)
		x.probe(probes...)
	}
	if x.topics != nil {
		probes, err := x.topics.Verify(ctx)
		errs = append(errs, err)
		x.probe(probes...)
		lags, err := x.topics.Groups(ctx, x.groups())
		errs = append(errs, err)
		for _, lag := range lags {
			x.probe(lag.Probe())
		}
	}
	cached, err := x.probeCaches(ctx)
	errs = append(errs, err)
	x.probe(cached...)
	x.probe(x.ownExits()...)
	x.probe(overlaps(x.log.from(0), x.skus())...)
	bypass, err := x.bypass()
	x.probe(bypass...)
	if err := errors.Join(append(errs, err)...); err != nil {
		return fmt.Errorf("verify observation: %w", err)
	}
	return nil
}

// ownExits reports the servers that exited without being asked: the system under test is not to blame
// for what follows, so the observation is not complete.
func (x *experiment) ownExits() []history.Probe {
	var probes []history.Probe
	for _, exit := range x.stack.UnexpectedExits() {
		if slices.ContainsFunc(x.services, func(p stack.Node) bool { return p.Name() == exit.Name }) {
			continue
		}
		probes = append(probes, history.Probe{
			Name: history.ProbeTap, Subject: exit.Name, Detail: fmt.Sprintf("the server exited by itself (code %d %s)", exit.Code, exit.Signal),
		})
	}
	return probes
}

func (x *experiment) skus() []string {
	names := make([]string, x.scenario.Workload.SKUs)
	for i := range names {
		names[i] = skuName(i)
	}
	return names
}

func (x *experiment) probe(probes ...history.Probe) {
	for _, probe := range probes {
		x.recorder.Append(history.Event{Probe: &probe})
	}
}

// sources are the conditions of quiescence; each lists what is still open.
func (x *experiment) sources() []observe.Source {
	sources := []observe.Source{x.deadProcesses}
	for _, tap := range x.wal {
		for _, open := range x.scenario.System.Open {
			if open.Database == tap.Database() {
				sources = append(sources, tap.Count(open.What, open.Count))
			}
		}
		sources = append(sources, tap.Behind)
	}
	sources = append(sources, x.cacheSources()...)
	if x.topics != nil {
		sources = append(sources, x.topics.Behind, x.topics.Unconsumed(x.groups()))
	}
	return sources
}

func (x *experiment) deadProcesses(context.Context) ([]string, error) {
	var open []string
	for name, node := range x.nodes {
		if !node.Alive() {
			open = append(open, "process "+name+" does not run")
		}
	}
	slices.Sort(open)
	return open, nil
}

func (x *experiment) groups() []observe.Group {
	var groups []observe.Group
	for _, service := range x.scenario.System.Services {
		if service.Group != "" {
			groups = append(groups, observe.Group{Name: service.Group, Topics: service.Consumes})
		}
	}
	return groups
}
