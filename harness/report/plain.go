package report

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// heartbeat is the longest silence of plain progress: CI servers kill jobs that look hung.
const heartbeat = 10 * time.Second

// plainProgress writes a line for the start of a scenario, the evidence of a fault, a verdict, and a
// heartbeat when nothing of that came for a while.
type plainProgress struct {
	out  io.Writer
	stop chan struct{}
	done sync.WaitGroup

	mu     sync.Mutex
	lanes  lanes
	spoke  chan struct{} // a line was written
	err    error
	closed bool
}

func newPlain(out io.Writer) *plainProgress {
	p := &plainProgress{out: out, stop: make(chan struct{}), spoke: make(chan struct{}, 1)}
	p.done.Go(p.beat)
	return p
}

func (p *plainProgress) beat() {
	timer := time.NewTimer(heartbeat)
	defer timer.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-p.spoke:
		case <-timer.C:
			p.mu.Lock()
			p.line("still here: %s", p.alive())
			p.mu.Unlock()
		}
		timer.Reset(heartbeat)
	}
}

// alive says what runs, for a heartbeat.
func (p *plainProgress) alive() string {
	if len(p.lanes.running) == 0 {
		return p.lanes.summary()
	}
	var parts []string
	for _, l := range p.lanes.running {
		parts = append(parts, fmt.Sprintf("%s %s %s", plain(l.name), plain(l.phase), l.orders()))
	}
	return p.lanes.summary() + " (" + strings.Join(parts, "; ") + ")"
}

// line writes one line. The caller holds the lock.
func (p *plainProgress) line(format string, args ...any) {
	_, err := fmt.Fprintf(p.out, "%s "+format+"\n", append([]any{time.Now().Format("15:04:05")}, args...)...)
	if err != nil && p.err == nil {
		p.err = fmt.Errorf("write progress: %w", err)
	}
}

// Update implements [Progress].
func (p *plainProgress) Update(u Update) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	about, began := p.lanes.apply(u, time.Now())
	name := plain(u.Scenario)
	spoke := began
	if began {
		p.line("%s: started", name)
	}
	if u.Note != "" {
		spoke = true
		p.line("%s", joinNonEmpty(": ", name, plain(u.Note)))
	}
	if about != nil && u.Fault != "" && u.Evidence != "" {
		spoke = true
		p.line("%s: fault %s %s", name, plain(u.Fault), evidence(u))
	}
	if about != nil && u.Done {
		spoke = true
		p.line("%s", verdictLine(about, u, time.Now()))
	}
	if spoke {
		select {
		case p.spoke <- struct{}{}:
		default: // one is waiting already
		}
	}
}

// evidence says whether a fault bit, and how that is known.
func evidence(u Update) string {
	if u.Bit {
		return "bit: " + plain(u.Evidence)
	}
	return "did not bite: " + plain(u.Evidence)
}

// verdictLine is the end of a scenario in a line.
func verdictLine(l *lane, u Update, now time.Time) string {
	text := fmt.Sprintf("%s: %s in %.1f s, %s, %s bit",
		plain(l.name), u.Verdict, now.Sub(l.began).Seconds(), l.orders(), counted(l.bitten, "fault"))
	if u.Reason != "" {
		text += ": " + plain(u.Reason)
	}
	return text
}

// Close implements [Progress].
func (p *plainProgress) Close() error {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		close(p.stop)
	}
	p.mu.Unlock()
	p.done.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}
