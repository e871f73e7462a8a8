package faults

import (
	"context"
	"time"

	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/link"
)

// processLinks measures the links of a process: those on which it is the client (it should send) and those on
// which it is the server (it should answer).
type processLinks struct {
	client, server []*link.Window
}

func watchProcess(env *harness.Env, node string) processLinks {
	var p processLinks
	for _, on := range env.Links(node + "->*") {
		p.client = append(p.client, on.Watch())
	}
	for _, on := range env.Links("*->" + node) {
		p.server = append(p.server, on.Watch())
	}
	return p
}

func (p processLinks) stop() {
	for _, windows := range [][]*link.Window{p.client, p.server} {
		for _, window := range windows {
			window.Stop()
		}
	}
}

// lost counts the connections that ended and those that could not reach the process. With a server it does not matter
// who ended them: a broker that leaves in good order hands over what it leads first, and its clients may go before it does.
func (p processLinks) lost() (ended, unreachable int64) {
	for _, window := range p.client {
		ended += window.Measure().ClientEnded
	}
	for _, window := range p.server {
		m := window.Measure()
		ended += m.ServerEnded + m.ClientEnded
		unreachable += m.DialFailed
	}
	return ended, unreachable
}

// messages counts what the process sent and what it was asked, in how long.
func (p processLinks) messages() (sent, asked int64, length time.Duration) {
	for _, window := range p.client {
		m := window.Measure()
		sent, length = sent+m.Request.Messages, m.Duration
	}
	for _, window := range p.server {
		m := window.Measure()
		sent, asked, length = sent+m.Response.Messages, asked+m.Request.Messages, m.Duration
	}
	return sent, asked, length
}

const (
	// still is how long nothing may move before a window of silence begins: what was already past the tap has arrived.
	still = 20 * time.Millisecond
	// stillWithin bounds the wait for that, on a busy machine or where the silence never comes.
	stillWithin = 500 * time.Millisecond
)

// whenStill calls watch, which begins to measure and returns what says whether anything moved since, until
// nothing moved for so long. If something always moves, the last measurement stays: it shows what.
func whenStill(ctx context.Context, watch func() (moved func() bool)) error {
	bounded, cancel := context.WithTimeout(ctx, stillWithin)
	defer cancel()
	for {
		moved := watch()
		timer := time.NewTimer(still)
		select {
		case <-timer.C:
		case <-bounded.Done():
			timer.Stop()
			return ctx.Err()
		}
		if !moved() {
			return nil
		}
	}
}
