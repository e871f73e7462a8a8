package link

import (
	"time"

	"golang.org/x/sys/unix"
)

// refusal is how long the kernel of a destination that is gone may take to say so. On loopback it is
// done within the write.
const refusal = 20 * time.Millisecond

// send fires what is due and writes.
func (f *flow) send(data []byte, marks []mark) error {
	f.fire(marks)
	held := holdsOf(marks)
	doubtful := len(held) > 0 && f.doubtful()
	if !doubtful {
		conclude(held, forwarded) // before the bytes leave: what they cause is recorded later
	}
	_, err := f.to.Write(data)
	if err == nil {
		f.closing(marks)
	}
	switch {
	case err != nil || doubtful && f.refused():
		conclude(held, undeliverable)
	case doubtful:
		conclude(held, forwarded)
	}
	return err
}

// fire records the events that must precede their bytes.
func (f *flow) fire(marks []mark) {
	for i := range marks {
		if marks[i].event != nil {
			f.conn.link.record(*marks[i].event)
		}
	}
}

// closing ends the exchanges whose answers have just left.
func (f *flow) closing(marks []mark) {
	var now time.Time
	for i := range marks {
		if marks[i].closes == 0 {
			continue
		}
		if now.IsZero() {
			now = time.Now()
		}
		f.conn.end(marks[i].closes, now)
	}
}

// holdsOf returns the holds whose messages end at marks.
func holdsOf(marks []mark) []*Hold {
	var held []*Hold
	for i := range marks {
		if marks[i].hold != nil {
			held = append(held, marks[i].hold)
		}
	}
	return held
}

func conclude(holds []*Hold, state holdState) {
	for _, h := range holds {
		h.conclude(state)
	}
}

// doubtful says that the destination ended its own stream: it may only have said its last word, or be
// gone. A process that was killed has ended it by the time its exit is known, but the reader of that stream may
// not have seen it yet: as long as something is left to read there, it is waited for.
func (f *flow) doubtful() bool {
	back := f.conn.flows[1-f.index]
	for deadline := time.Now().Add(refusal); ; pause(100 * time.Microsecond) {
		back.mu.Lock()
		ended := back.ended != nil
		back.mu.Unlock()
		if ended {
			return true
		}
		if time.Now().After(deadline) || f.poll(unix.POLLIN, 0) == 0 {
			return false
		}
	}
}

// refused says that the destination's kernel answered with RST what was just written.
func (f *flow) refused() bool {
	return f.poll(0, refusal)&(unix.POLLERR|unix.POLLHUP) != 0
}

// poll asks the kernel about the destination's socket, without taking a pending error from its reader.
func (f *flow) poll(events int16, wait time.Duration) (seen int16) {
	raw, err := f.to.SyscallConn()
	if err != nil {
		return unix.POLLERR
	}
	if err := raw.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd), Events: events}}
		for deadline := time.Now().Add(wait); ; {
			_, err := unix.Poll(fds, int(max(time.Until(deadline), 0).Milliseconds()))
			if err != unix.EINTR {
				seen = fds[0].Revents
				return
			}
		}
	}); err != nil {
		return unix.POLLERR // closed
	}
	return seen
}
