package link

import "time"

// offer counts bytes that the sender gave.
func (f *flow) offer(n int) {
	f.mu.Lock()
	f.backlog += int64(n)
	f.mu.Unlock()
	f.conn.link.stats.move(f.index, Traffic{Offered: int64(n)}, int64(n))
}

// delivered counts bytes that were written to the receiver, or could not be. The caller holds mu, as for
// all that follows.
func (f *flow) delivered(n int64, err error) {
	if err != nil {
		f.giveUp(n)
		return
	}
	settled := min(n, f.backlog) // a kill may have given them up already
	f.backlog -= settled
	f.conn.link.stats.move(f.index, Traffic{Delivered: n}, -settled)
}

// giveUp takes bytes that will never be delivered off the backlog.
func (f *flow) giveUp(n int64) {
	n = min(n, f.backlog)
	f.backlog -= n
	f.conn.link.stats.move(f.index, Traffic{}, -n)
}

// forfeit gives up all that is not delivered.
func (f *flow) forfeit() { f.giveUp(f.backlog) }

// oldest is when the first byte came that is offered and not delivered, zero if there is none.
func (f *flow) oldest() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pipe != nil {
		if since := f.pipe.oldest(); !since.IsZero() {
			return since
		}
	}
	switch {
	case f.sending:
		return f.since
	case len(f.queue) > 0:
		return f.queue[0].arrived()
	default:
		return time.Time{}
	}
}

// waited notes the wait of bytes that did not pass straight through.
func (f *flow) waited(marks []mark) {
	if len(marks) > 0 {
		f.conn.link.stats.waited(f.index, marks[0].arrived)
	}
}
