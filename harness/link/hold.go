package link

import (
	"bytes"
	"slices"
	"sync"

	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/wire"
)

// Match chooses a message. The zero value of a field matches everything.
type Match struct {
	Direction string   // history.Request or history.Response
	Kind      string   // as in [wire.Message]: "COMMIT", "Produce", "POST /api/v1/orders"
	Tokens    []string // ids that the message must all carry
	// Where decides last. It is called while the connection is parsed: it must be quick, must not call the
	// link, and must not keep the message's Data.
	Where func(wire.Message) bool
}

func (m *Match) matches(message *wire.Message) bool {
	if m.Direction != "" && m.Direction != message.Direction || m.Kind != "" && m.Kind != message.Kind {
		return false
	}
	for _, token := range m.Tokens {
		if !slices.Contains(message.Tokens, token) {
			return false
		}
	}
	return m.Where == nil || m.Where(*message)
}

// Hold waits for a message and keeps it back, with everything behind it in its direction of its
// connection, until Forward or Drop. It is safe for concurrent use.
type Hold struct {
	link   *Link
	match  Match
	caught chan wire.Message

	mu    sync.Mutex
	state holdState
	taken bool // by a connection's reader
	flow  *flow
	event history.Wire
}

// holdState is what became of the held message.
type holdState int

const (
	pending holdState = iota // not caught yet, or held
	forwarded
	dropped
	cancelled // before anything was caught
)

// Hold arms a hold: the first message that matches, on any connection, is held.
func (l *Link) Hold(match Match) *Hold {
	h := &Hold{link: l, match: match, caught: make(chan wire.Message, 1)}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		h.state = cancelled
		close(h.caught)
		return h
	}
	l.holds = append(l.holds, h)
	l.armed.Add(1)
	return h
}

// Caught delivers the held message once. It is closed when the hold ends without having caught any.
func (h *Hold) Caught() <-chan wire.Message { return h.caught }

// Forward lets the held message and what is behind it go, even if its sender is gone by now. Before
// anything was caught it disarms the hold, like Cancel.
func (h *Hold) Forward() { h.settle(forwarded) }

// Drop discards the held message and lets what is behind it go. Before anything was caught it disarms the
// hold, like Cancel.
func (h *Hold) Drop() { h.settle(dropped) }

// Cancel disarms the hold; a message already held is forwarded.
func (h *Hold) Cancel() { h.settle(forwarded) }

// Conn is the number of the connection that the held message came on, as in [history.Wire]; 0 before.
func (h *Hold) Conn() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.flow == nil {
		return 0
	}
	return h.flow.conn.id
}

// Reset sends RST to the client of the held message's connection. A held request stays with the link,
// which can still forward it to the server; for a held response the server gets RST too, and the response
// is dropped. It says whether there was such a connection.
func (h *Hold) Reset() bool {
	h.mu.Lock()
	f := h.flow
	held := h.state == pending
	h.mu.Unlock()
	if f == nil {
		return false
	}
	var reset bool
	if f.index == request && held {
		reset = f.conn.resetClient()
	} else {
		reset = f.conn.reset()
	}
	if reset {
		h.link.stats.count(func(n *counts) { n.reset++ })
	}
	return reset
}

// match returns the armed hold that wants m, disarmed, if there is one.
func (l *Link) match(m *wire.Message) *Hold {
	if l.armed.Load() == 0 {
		return nil
	}
	l.mu.Lock()
	holds := slices.Clone(l.holds)
	l.mu.Unlock()
	for _, h := range holds {
		if h.match.matches(m) && h.take() {
			return h
		}
	}
	return nil
}

// take disarms h for the caller, unless someone else did.
func (h *Hold) take() bool {
	h.mu.Lock()
	if h.state != pending || h.taken {
		h.mu.Unlock()
		return false
	}
	h.taken = true
	h.mu.Unlock()
	h.disarm()
	return true
}

// disarm takes h off the link's list.
func (h *Hold) disarm() {
	h.link.mu.Lock()
	defer h.link.mu.Unlock()
	if i := slices.Index(h.link.holds, h); i >= 0 {
		h.link.holds = slices.Delete(h.link.holds, i, i+1)
	}
	h.link.armed.Store(int32(len(h.link.holds)))
}

// catch tells whoever waits that m is held.
func (h *Hold) catch(f *flow, m wire.Message, event history.Wire) {
	m.Data = bytes.Clone(m.Data)
	h.mu.Lock()
	h.flow, h.event = f, event
	settled := h.state != pending
	event.Held = "held"
	h.link.record(event)
	if settled {
		h.recordOutcome()
	}
	h.mu.Unlock()
	h.caught <- m
	if settled {
		f.wake()
	}
}

// settle decides once what becomes of the message.
func (h *Hold) settle(state holdState) {
	h.mu.Lock()
	if h.state != pending {
		h.mu.Unlock()
		return
	}
	if !h.taken {
		h.state = cancelled
		h.mu.Unlock()
		h.disarm()
		close(h.caught)
		return
	}
	h.state = state
	f := h.flow
	if f != nil {
		h.recordOutcome()
	}
	h.mu.Unlock()
	if f != nil {
		f.wake()
	}
}

// recordOutcome records what became of the held message. The caller holds mu.
func (h *Hold) recordOutcome() {
	event := h.event
	event.Held = "forwarded"
	if h.state == dropped {
		event.Held = "dropped"
	}
	h.link.record(event)
}

// outcome is what became of the message so far.
func (h *Hold) outcome() holdState {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state
}
