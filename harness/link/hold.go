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

	mu     sync.Mutex
	state  holdState // as it was decided
	result holdState // as it came about; pending before
	taken  bool      // by a connection's reader
	flow   *flow
	event  history.Wire
}

// holdState is what became of the held message.
type holdState int

const (
	pending   holdState = iota // not caught yet, or held
	forwarded                  // let go; in Hold.result: written to its destination
	dropped
	cancelled     // before anything was caught
	undeliverable // let go, but its destination was gone
)

// The names of states in the history.
var outcomes = map[holdState]string{forwarded: "forwarded", dropped: "dropped", undeliverable: "undeliverable"}

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
	if h.result != pending { // it was let go at once
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
	h.mu.Unlock()
	if state == dropped {
		h.conclude(dropped)
	}
	if f != nil {
		f.wake()
	}
}

// conclude notes what became of a message that was let go or dropped. The first result stays, but for one:
// what was thought to be forwarded may turn out undeliverable.
func (h *Hold) conclude(result holdState) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.result != pending && (h.result != forwarded || result != undeliverable) {
		return
	}
	h.result = result
	if h.flow != nil { // else catch records it, after the message itself
		h.recordOutcome()
	}
}

// abandon notes that the direction is over: what was let go and has not left never will.
func (h *Hold) abandon() {
	h.settle(dropped)
	h.mu.Lock()
	over := h.result == pending
	h.mu.Unlock()
	if over {
		h.conclude(undeliverable)
	}
}

// recordOutcome records what became of the held message. The caller holds mu.
func (h *Hold) recordOutcome() {
	event := h.event
	event.Held = outcomes[h.result]
	h.link.record(event)
}

// Outcome says what really became of the held message, in the history's words: "forwarded" once it was
// written to a destination that was there to take it, "undeliverable" when it was let go and the
// destination was gone, "dropped". It is empty while the message is held, or let go and still kept back by a stall
// or a toxic, and when none was caught.
func (h *Hold) Outcome() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return outcomes[h.result]
}

// decided is what is to become of the message.
func (h *Hold) decided() holdState {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state
}
