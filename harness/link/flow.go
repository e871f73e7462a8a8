package link

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/wire"
)

// flow carries one direction of a connection. Its reader passes bytes straight on while nothing is in the
// way. When something is (a stall, a hold, a toxic), the reader queues, and the forwarder passes on.
type flow struct {
	conn     *conn
	index    int // request or response
	from, to *net.TCPConn

	// The reader's own.
	buffer   []byte
	unparsed []byte // of buffer
	batch    batch
	count    int64 // messages

	mu      sync.Mutex
	changed *sync.Cond
	queue   []segment
	holds   []*Hold // that caught a message here
	queued  int     // bytes in queue
	sending bool    // the reader passes bytes on
	since   time.Time
	ended   error // why the reader stopped
	endedAt time.Time
	dead    bool // what comes is discarded
	failed  bool // because the destination is gone
	pipe    *pipeline
	applied int64 // version of the toxics in pipe
	backlog int64 // bytes offered, neither delivered nor given up
	settled []settling
}

// settling is a heal that waits for a version of the toxics.
type settling struct {
	version int64
	done    chan struct{}
}

// segment is a piece of the queue.
type segment struct {
	data  []byte
	marks []mark // offsets within data
	hold  *Hold
}

// mark says what is due when the bytes before end leave.
type mark struct {
	end     int64
	arrived time.Time
	event   *history.Wire
	closes  int64
	hold    *Hold // whose message ends here
}

// batch is what the reader understood of one read.
type batch struct {
	pieces [][]byte
	marks  []mark
	size   int64
	grown  int64 // by rewriting
}

const (
	minBuffer = 32 << 10
	maxIdle   = 1 << 20 // a larger buffer is given back
)

func newFlow(c *conn, index int) *flow {
	f := &flow{conn: c, index: index}
	f.changed = sync.NewCond(&f.mu)
	return f
}

func (f *flow) stats() *stats { return &f.conn.link.stats }

// read is the reader: it ends when its socket does.
func (f *flow) read() {
	f.buffer = make([]byte, minBuffer)
	for {
		n, err := f.from.Read(f.room())
		if n > 0 {
			now := time.Now()
			f.unparsed = f.buffer[:len(f.unparsed)+n]
			f.offer(n)
			f.take(now)
			f.compact()
		}
		if err != nil {
			f.finish(err)
			return
		}
	}
}

// room returns free space behind the unparsed bytes, which are at the start of the buffer.
func (f *flow) room() []byte {
	used := len(f.unparsed)
	if used == len(f.buffer) {
		larger := make([]byte, 2*len(f.buffer))
		copy(larger, f.unparsed)
		f.buffer, f.unparsed = larger, larger[:used]
	}
	return f.buffer[used:]
}

// compact moves the unparsed bytes to the start of the buffer.
func (f *flow) compact() {
	if len(f.unparsed) == 0 && len(f.buffer) > maxIdle {
		f.buffer = make([]byte, minBuffer)
	}
	f.unparsed = f.buffer[:copy(f.buffer, f.unparsed)]
}

// take parses what was read and passes it on.
func (f *flow) take(now time.Time) {
	for {
		held, message := f.parse(now)
		f.pass(now)
		if held == nil {
			return
		}
		f.hold(held, message, now)
	}
}

// parse fills the batch with messages, up to one that a hold catches.
func (f *flow) parse(now time.Time) (*Hold, wire.Message) {
	c := f.conn
	f.batch = batch{pieces: f.batch.pieces[:0], marks: f.batch.marks[:0]}
	var messages int64
	defer func() { f.stats().move(f.index, Traffic{Messages: messages}, 0) }()
	c.parsing.Lock()
	defer c.parsing.Unlock()
	var m wire.Message
	plain := f.unparsed // its beginning is in no piece yet
	taken := 0
	flush := func() {
		if taken > 0 {
			f.batch.pieces = append(f.batch.pieces, plain[:taken])
			plain, taken = plain[taken:], 0
		}
	}
	for {
		n := c.codec.Next(directionNames[f.index], f.unparsed, &m)
		if n == 0 {
			break
		}
		same := n == len(m.Data) && &m.Data[0] == &f.unparsed[0]
		f.unparsed = f.unparsed[n:]
		if m.Unread || m.Fragment && c.link.config.Protocol != wire.Raw {
			f.stats().count(func(n *counts) { n.unread++ })
		}
		if !m.Fragment {
			messages++
			f.count++
			if m.Opens != 0 {
				c.begin(m.Opens, now)
			}
			f.arrived(&m)
			if h := c.link.match(&m); h != nil {
				flush()
				return h, m
			}
		}
		f.departing(&m, now)
		f.batch.grown += int64(len(m.Data) - m.Size)
		if same {
			taken += n
			continue
		}
		flush()
		f.batch.pieces = append(f.batch.pieces, m.Data)
		plain = f.unparsed
	}
	flush()
	return nil, wire.Message{}
}

// departing adds m to the batch's size and marks.
func (f *flow) departing(m *wire.Message, now time.Time) {
	f.batch.size += int64(len(m.Data))
	event := f.departure(m)
	if event != nil || m.Closes != 0 {
		f.batch.marks = append(f.batch.marks, mark{end: f.batch.size, arrived: now, event: event, closes: m.Closes})
	}
}

// pass sends the batch, or queues a copy when something is in the way.
func (f *flow) pass(now time.Time) {
	if f.batch.size == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.backlog += f.batch.grown
	for !f.dead && f.queued >= maxQueued {
		f.changed.Wait()
	}
	switch {
	case f.dead:
		f.forfeit()
	case f.clear():
		f.sending, f.since = true, now
		f.mu.Unlock()
		err := f.send(f.batch.joined(), f.batch.marks)
		f.mu.Lock()
		f.sending = false
		if err != nil {
			f.fail()
		}
		f.delivered(f.batch.size, err)
		if f.dead || f.applied != f.wanted() {
			f.changed.Broadcast()
		}
	default:
		f.enqueue(segment{data: f.batch.joined(), marks: f.batch.marks}, now)
	}
}

// joined returns the pieces as one.
func (b *batch) joined() []byte {
	if len(b.pieces) == 1 {
		return b.pieces[0]
	}
	all := make([]byte, 0, b.size)
	for _, piece := range b.pieces {
		all = append(all, piece...)
	}
	return all
}

// clear says that nothing is in the way. The caller holds mu, as for all that follows.
func (f *flow) clear() bool {
	return len(f.queue) == 0 && f.pipe == nil && !f.sending && f.applied == f.wanted() && !f.stalled()
}

func (f *flow) wanted() int64 { return f.conn.link.version[f.index].Load() }

func (f *flow) stalled() bool { return f.conn.link.stalled[f.index].Load() > 0 }

// enqueue appends a copy of s, to the last segment if that is not full.
func (f *flow) enqueue(s segment, now time.Time) {
	f.queued += len(s.data)
	marks := append(make([]mark, 0, len(s.marks)+1), s.marks...)
	marks = append(marks, mark{end: int64(len(s.data)), arrived: now})
	if last := len(f.queue) - 1; s.hold == nil && last >= 0 && f.queue[last].hold == nil &&
		len(f.queue[last].data) < minBuffer {
		tail := &f.queue[last]
		for _, m := range marks {
			m.end += int64(len(tail.data))
			tail.marks = append(tail.marks, m)
		}
		tail.data = append(tail.data, s.data...)
	} else {
		f.queue = append(f.queue, segment{data: append([]byte(nil), s.data...), marks: marks, hold: s.hold})
	}
	f.changed.Broadcast()
}

// hold queues a message that h caught.
func (f *flow) hold(h *Hold, m wire.Message, now time.Time) {
	due := mark{end: int64(len(m.Data)), arrived: now, event: f.departure(&m), closes: m.Closes, hold: h}
	s := segment{data: m.Data, marks: []mark{due}, hold: h}
	caught := f.event(&m)
	f.mu.Lock()
	if f.dead {
		f.forfeit()
		f.mu.Unlock()
		h.settle(dropped)
	} else {
		f.backlog += int64(len(m.Data) - m.Size)
		f.holds = append(f.holds, h)
		f.enqueue(s, now)
		f.mu.Unlock()
	}
	h.catch(f, m, caught)
}

// finish ends the reader: what it could not parse passes as it is.
func (f *flow) finish(err error) {
	if len(f.unparsed) > 0 {
		f.batch = batch{pieces: [][]byte{f.unparsed}, size: int64(len(f.unparsed))}
		f.pass(time.Now())
		f.stats().count(func(n *counts) { n.cut++ })
	}
	if errors.Is(err, io.EOF) {
		err = io.EOF
	}
	f.conn.endedBy(f.index, err)
	f.mu.Lock()
	f.ended, f.endedAt = err, time.Now()
	f.changed.Broadcast()
	f.mu.Unlock()
}

// kill discards everything, now and later.
func (f *flow) kill() {
	f.mu.Lock()
	var holds []*Hold
	for _, s := range f.queue {
		if s.hold != nil {
			holds = append(holds, s.hold)
		}
	}
	f.dead = true
	f.queue, f.queued = nil, 0
	f.forfeit()
	pipe := f.pipe
	f.changed.Broadcast()
	f.mu.Unlock()
	if pipe != nil {
		pipe.abort()
	}
	for _, h := range holds {
		h.settle(dropped)
	}
}

// fail discards from here on because the destination is gone. The caller holds mu.
func (f *flow) fail() {
	f.dead, f.failed = true, true
	f.changed.Broadcast()
}

// undeliverable says that bytes were discarded because the destination is gone.
func (f *flow) undeliverable() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed
}

func (f *flow) wake() {
	f.mu.Lock()
	f.changed.Broadcast()
	f.mu.Unlock()
}
