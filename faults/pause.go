package faults

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/link"
)

type pause struct{ onNode }

// Pause stops a process and all its children with SIGSTOP, as a long garbage collection or a frozen
// virtual machine does, and continues it when healed.
func Pause(process string) harness.Fault { return pause{onNode{process}} }

func (pause) Name() string { return "pause" }

func (f pause) Prepare(env *harness.Env) harness.Injection {
	p := &pausing{env: env, node: f.node, overlap: env.Overlapping()}
	p.watch()
	return p
}

// pausing measures the links of a process: those on which it is the client (it should send) and those
// on which it is the server (it should answer).
type pausing struct {
	env            *harness.Env
	node           string
	client, server []*link.Window
	overlap        func() int
}

func (p *pausing) watch() {
	p.stop()
	p.client, p.server = nil, nil
	for _, on := range p.env.Links(p.node + "->*") {
		p.client = append(p.client, on.Watch())
	}
	for _, on := range p.env.Links("*->" + p.node) {
		p.server = append(p.server, on.Watch())
	}
}

func (p *pausing) stop() {
	for _, window := range append(p.client, p.server...) {
		window.Stop()
	}
}

func (p *pausing) Inject(ctx context.Context) error {
	if err := p.env.Node(p.node).Pause(ctx); err != nil {
		return err
	}
	// What it had sent before it stopped is past the taps by then.
	timer := time.NewTimer(2 * settle)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	p.watch()
	return ctx.Err()
}

func (p *pausing) Heal(ctx context.Context) error {
	defer p.stop()
	return p.env.Node(p.node).Resume(ctx)
}

// Evidence is silence: nothing sent by the process, though its peers or clients wanted something.
func (p *pausing) Evidence() harness.Evidence {
	var sent, asked int64
	var length time.Duration
	for _, window := range p.client {
		m := window.Measure()
		sent += m.Request.Messages
		length = m.Duration
	}
	for _, window := range p.server {
		m := window.Measure()
		sent += m.Response.Messages
		asked += m.Request.Messages
		length = m.Duration
	}
	operations := p.overlap()
	return harness.Evidence{
		Bit: sent == 0 && length >= 200*time.Millisecond && operations > 0 && (asked > 0 || p.busyBefore()),
		Effect: fmt.Sprintf("%s sent %d messages in %v, while %d client operations were in flight and %d messages asked it for something",
			p.node, sent, milliseconds(length), operations, asked),
	}
}

// busyBefore says whether the process ever sent a message worth recording: silence of one that is
// always silent proves nothing.
func (p *pausing) busyBefore() bool {
	for _, event := range p.env.Log() {
		if event.Wire != nil && strings.HasPrefix(event.Wire.Link, p.node+"->") {
			return true
		}
	}
	return false
}
