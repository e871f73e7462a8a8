package faults

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ordeal-chaos/ordeal/harness"
)

type rollingRestart struct{}

// RollingRestart stops the brokers in good order and starts them again, one after the other, as an upgrade does: each
// only when all replicas are in sync again.
func RollingRestart() harness.Fault { return rollingRestart{} }

func (rollingRestart) Name() string { return "rolling-restart" }

func (rollingRestart) Target() string { return "kafka" }

func (rollingRestart) Validate(t harness.Topology) error { return t.CheckApart() }

func (rollingRestart) Prepare(env *harness.Env) harness.Injection { return &rolling{env: env} }

type rolling struct {
	env      *harness.Env
	restarts []harness.Injection // those begun
	whole    int                 // after how many of them all replicas were in sync
}

// inSyncWithin bounds the wait until a broker that was started has all that it must have.
const inSyncWithin = time.Minute

func (r *rolling) Inject(ctx context.Context) error {
	for _, broker := range r.env.Brokers() {
		restart := Terminate(broker.Name()).Prepare(r.env)
		r.restarts = append(r.restarts, restart)
		if err := errors.Join(restart.Inject(ctx), restart.Heal(ctx)); err != nil {
			return err
		}
		if err := r.awaitInSync(ctx); err != nil {
			return err
		}
		r.whole++
	}
	return nil
}

func (r *rolling) awaitInSync(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, inSyncWithin)
	defer cancel()
	admin, err := r.env.Admin()
	if err != nil {
		return err
	}
	defer admin.Close()
	return harness.Await(ctx, "all replicas in sync", func(ctx context.Context) (bool, string, error) {
		topics, err := admin.ListTopicsWithInternal(ctx)
		if err != nil {
			return false, "", err
		}
		var behind []string
		for _, topic := range topics {
			for _, p := range topic.Partitions {
				if p.Leader < 0 || len(p.ISR) < len(p.Replicas) {
					behind = append(behind, fmt.Sprintf("%s/%d", p.Topic, p.Partition))
				}
			}
		}
		return len(behind) == 0, "behind: " + strings.Join(behind, " "), nil
	})
}

// Heal starts what a restart that failed has left.
func (r *rolling) Heal(ctx context.Context) error { return r.env.Revive(ctx, r.env.Brokers()) }

func (r *rolling) Evidence() harness.Evidence {
	all := harness.Evidence{Bit: r.whole > 0 && r.whole == len(r.env.Brokers())}
	var effects []string
	for _, restart := range r.restarts {
		one := restart.Evidence()
		all.Bit = all.Bit && one.Bit
		effects = append(effects, one.Effect)
	}
	all.Effect = strings.Join(append(effects, fmt.Sprintf("%d brokers were restarted and all replicas in sync again", r.whole)), "; ")
	return all
}
