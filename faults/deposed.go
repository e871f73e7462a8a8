package faults

import (
	"context"
	"fmt"
	"time"

	"github.com/ordeal-chaos/ordeal/harness"
)

// deposed is a fault on whichever broker holds an office when it is injected: it hits that broker, and bites when
// the hit did and another broker took the office over.
type deposed struct {
	name, target string
	validate     func(harness.Topology) error
	office       func(context.Context, *harness.Env) (office, error)
	hit          func(broker string) harness.Fault
	// reelects allows that the broker holds the office again, as one does that is back at once.
	reelects bool
}

func (f deposed) Name() string { return f.name }

func (f deposed) Target() string { return f.target }

// Validate demands three brokers first: with fewer, there is no other to take over.
func (f deposed) Validate(t harness.Topology) error {
	if err := t.CheckApart(); err != nil {
		return err
	}
	return f.validate(t)
}

func (f deposed) Prepare(env *harness.Env) harness.Injection { return &deposing{fault: f, env: env} }

// onLeader is a hit on the leader of a partition.
func onLeader(name, partition string, hit func(string) harness.Fault) deposed {
	return deposed{
		name: name, target: partition, hit: hit,
		validate: func(t harness.Topology) error { return t.CheckPartition(partition) },
		office: func(_ context.Context, env *harness.Env) (office, error) {
			return leads(env, partition), nil
		},
	}
}

type deposing struct {
	fault deposed
	env   *harness.Env

	holder string
	struck harness.Injection // nil until the holder is known
	heir   *succession
	acks   acknowledgements
}

// holderWithin bounds the search for the broker to hit: an election may be under way.
const holderWithin = 10 * time.Second

func (d *deposing) Inject(ctx context.Context) error {
	held, err := d.find(ctx)
	if err != nil {
		return err
	}
	d.struck = d.fault.hit(d.holder).Prepare(d.env)
	d.acks = watchAcknowledgements(d.env, held.partition)
	// Before the hit: a broker that is asked to stop hands its duties over first.
	d.heir = follow(ctx, held, d.holder)
	return d.struck.Inject(ctx)
}

// find resolves the office and who holds it.
func (d *deposing) find(ctx context.Context) (held office, err error) {
	ctx, cancel := context.WithTimeout(ctx, holderWithin)
	defer cancel()
	err = harness.Await(ctx, "the broker that "+d.fault.target+" stands for", func(ctx context.Context) (bool, string, error) {
		var err error
		if held, err = d.fault.office(ctx, d.env); err == nil {
			d.holder, err = held.holder(ctx)
		}
		return err == nil, "", err
	})
	return held, err
}

func (d *deposing) Heal(ctx context.Context) error {
	if d.heir != nil {
		d.heir.end()
	}
	if d.struck == nil {
		return nil
	}
	return d.struck.Heal(ctx)
}

func (d *deposing) Evidence() harness.Evidence {
	if d.struck == nil {
		return harness.Evidence{Effect: "no broker was hit"}
	}
	office, evidence := d.heir.office, d.struck.Evidence()
	heir, took := d.heir.succeeded()
	evidence.Bit = evidence.Bit && (heir != "" || d.fault.reelects)
	evidence.Effect = fmt.Sprintf("%s %s; %s; ", d.holder, office.duty, evidence.Effect)
	if heir == "" {
		evidence.Effect += "no other broker took over since"
	} else {
		evidence.Effect += fmt.Sprintf("%v later %s took over", milliseconds(took), heir)
	}
	if office.partition != "" {
		evidence.Effect += "; " + d.acks.String()
	}
	return evidence
}
