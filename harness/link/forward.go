package link

import (
	"errors"
	"io"
	"time"
)

// forward is the forwarder: it takes from the queue whatever may pass, and ends when the direction does.
func (f *flow) forward() {
	f.mu.Lock()
	for !f.dead && !f.step() {
	}
	holds := f.holds
	f.dead, f.queue, f.queued = true, nil, 0
	f.forfeit()
	pipe := f.pipe
	for _, s := range f.settled {
		close(s.done)
	}
	f.settled = nil
	f.changed.Broadcast() // the reader may wait for room
	f.mu.Unlock()
	if pipe != nil {
		pipe.abort()
		pipe.await()
	}
	for _, h := range holds {
		h.abandon()
	}
	f.conn.done()
}

// step does the next thing that can be done, or waits for a change. It says whether the direction is over.
func (f *flow) step() bool {
	switch {
	case f.sending:
		f.changed.Wait()
	case f.applied != f.wanted():
		f.retool()
	case f.pipe != nil && f.pipe.over():
		f.cut()
		return true
	case f.stalled():
		f.changed.Wait()
	case len(f.queue) > 0:
		f.advance()
	case f.ended != nil:
		f.propagate()
		return true
	default:
		f.changed.Wait()
	}
	return false
}

// advance deals with the first segment.
func (f *flow) advance() {
	first := &f.queue[0]
	if first.hold != nil {
		switch first.hold.decided() {
		case pending:
			f.changed.Wait()
			return
		case dropped:
			f.queued -= len(first.data)
			f.giveUp(int64(len(first.data)))
			f.pop()
			f.changed.Broadcast()
			return
		}
		first.hold = nil
	}
	pipe := f.pipe
	if pipe == nil {
		s := *first
		f.pop()
		f.queued -= len(s.data)
		f.sending, f.since = true, s.arrived()
		f.mu.Unlock()
		err := f.send(s.data, s.marks)
		f.waited(s.marks)
		f.mu.Lock()
		f.sending = false
		if err != nil {
			f.fail()
		}
		f.delivered(int64(len(s.data)), err)
		f.changed.Broadcast()
		return
	}
	room := pipe.room()
	if room == 0 { // its limit is reached: it is about to be over
		f.changed.Wait()
		return
	}
	s := first.split(room)
	if len(first.data) == 0 {
		f.pop()
	}
	f.queued -= len(s.data)
	f.changed.Broadcast()
	f.mu.Unlock()
	pipe.feed(s)
	f.mu.Lock()
}

func (f *flow) pop() {
	f.queue[0] = segment{}
	f.queue = f.queue[1:]
	if len(f.queue) == 0 {
		f.queue = nil
	}
}

// split takes at most n bytes off the front, with their marks.
func (s *segment) split(n int) segment {
	n = min(n, len(s.data))
	head := segment{data: s.data[:n:n]}
	i := 0
	for i < len(s.marks) && s.marks[i].end <= int64(n) {
		i++
	}
	head.marks, s.marks = s.marks[:i:i], s.marks[i:]
	if len(s.marks) > 0 { // the rest of that message stays: keep when this part came
		head.marks = append(head.marks, mark{end: int64(n), arrived: s.marks[0].arrived})
	}
	for i := range s.marks {
		s.marks[i].end -= int64(n)
	}
	s.data = s.data[n:]
	return head
}

// arrived is when the first byte came.
func (s *segment) arrived() time.Time {
	if len(s.marks) == 0 {
		return time.Time{}
	}
	return s.marks[0].arrived
}

// retool replaces the toxics by those now in force, once the old ones have let go of every byte: so
// nothing is lost or reordered, and Toxiproxy's removal of a toxic from a live link, which can hang and
// can drop, is never used on one that carries bytes.
func (f *flow) retool() {
	if old := f.pipe; old != nil {
		f.mu.Unlock()
		old.drain()
		f.mu.Lock()
		if old.spent() {
			f.applied = f.wanted() // the connection is cut, whatever comes
			return
		}
		f.pipe = nil
		if f.dead {
			return
		}
	}
	toxics, version := f.conn.link.inForce(f.index)
	if len(toxics) > 0 {
		f.pipe = newPipeline(f, toxics)
	}
	f.applied = version
	rest := f.settled[:0]
	for _, s := range f.settled {
		if s.version <= version {
			close(s.done)
		} else {
			rest = append(rest, s)
		}
	}
	f.settled = rest
}

// settles returns a channel that closes when toxics older than version have let go, nil if they have.
func (f *flow) settles(version int64) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead || f.pipe == nil || f.applied >= version {
		return nil
	}
	s := settling{version: version, done: make(chan struct{})}
	f.settled = append(f.settled, s)
	f.changed.Broadcast()
	return s.done
}

// propagate passes the end of the stream on, after every byte.
func (f *flow) propagate() {
	if pipe := f.pipe; pipe != nil {
		f.mu.Unlock()
		pipe.closeInput()
		pipe.await()
		f.mu.Lock()
		f.pipe = nil
	}
	if f.dead {
		return
	}
	if f.index == response && !errors.Is(f.ended, io.EOF) {
		sever(f.to) // the server reset its connection
		return
	}
	f.stats().closed(f.index, f.endedAt)
	_ = f.to.CloseWrite() // fails only if the other side is gone already
}

// cut ends a connection whose limit_data is used up: the destination sees the end of the stream, the
// source's connection closes.
func (f *flow) cut() {
	f.conn.ending.Store(true)
	f.stats().count(func(n *counts) { n.limited++ })
	_ = f.to.CloseWrite()
	if f.index == response {
		_ = f.from.Close()
	}
}
