package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/mattn/go-runewidth"
)

// redraw is how often the lanes are drawn.
const redraw = 100 * time.Millisecond

// What a terminal does at the cursor.
const (
	clearRight = "\x1b[K"
	clearBelow = "\x1b[J"
)

// liveProgress draws a lane for every running scenario at the bottom of a terminal, again and again at
// the same place. What ends moves above the lanes and stays there.
type liveProgress struct {
	out   io.Writer
	paint painter
	size  func() (columns, rows int) // of the terminal
	began time.Time
	stop  chan struct{}
	done  sync.WaitGroup

	mu      sync.Mutex
	lanes   lanes
	above   []string // lines that stay, not yet written
	drawn   int      // lines on the screen that the next drawing replaces
	err     error
	closing bool
}

func newLive(out io.Writer, paint painter, size func() (columns, rows int)) *liveProgress {
	p := &liveProgress{out: out, paint: paint, size: size, began: time.Now(), stop: make(chan struct{})}
	p.done.Go(p.run)
	return p
}

func (p *liveProgress) run() {
	ticker := time.NewTicker(redraw)
	defer ticker.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-ticker.C:
			p.mu.Lock()
			p.draw(p.laneLines())
			p.mu.Unlock()
		}
	}
}

// Update implements [Progress].
func (p *liveProgress) Update(u Update) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing {
		return
	}
	about, _ := p.lanes.apply(u, time.Now())
	if u.Note != "" {
		p.above = append(p.above, joinNonEmpty(": ", plain(u.Scenario), plain(u.Note)))
	}
	if about == nil {
		return
	}
	if u.Fault != "" && u.Evidence != "" && !u.Bit {
		p.above = append(p.above, p.paint.yellow("?")+" "+plain(u.Scenario)+": "+plain(u.Fault)+" "+evidence(u))
	}
	if u.Done {
		mark := Scenario{Verdict: u.Verdict}.outcome()
		mark = mark[:strings.IndexByte(mark, ' ')]
		p.above = append(p.above, p.paint.verdict(u.Verdict, mark)+" "+verdictLine(about, u, time.Now()))
	}
}

// laneLines are the lines of the moment: a lane for each scenario, and a count below.
func (p *liveProgress) laneLines() []string {
	now, names := time.Now(), 0
	for _, l := range p.lanes.running {
		names = max(names, runewidth.StringWidth(plain(l.name)))
	}
	names = min(names, 32)
	var lines []string
	for _, l := range p.lanes.running {
		name := runewidth.FillRight(runewidth.Truncate(plain(l.name), names, "…"), names)
		line := fmt.Sprintf("%6.1f s  %s  %-8s  %-22s", now.Sub(l.began).Seconds(), name, plain(l.phase), l.orders())
		if l.bitten > 0 {
			line += fmt.Sprintf("  %s bit", counted(l.bitten, "fault"))
		}
		if len(l.active) > 0 {
			line += "  ⚡ " + plain(strings.Join(l.active, ", "))
		}
		lines = append(lines, line)
	}
	return append(lines, fmt.Sprintf("%6.1f s  %s", now.Sub(p.began).Seconds(), p.lanes.summary()))
}

// draw replaces the lines drawn last by the lines that stay and by these. It is one write, and writes over
// the old lines before it clears what is left of them, so that no terminal flickers. Lanes that wrap, or that scroll out of reach of the cursor, could
// not be replaced, so they are cut to the size of the terminal. The caller holds the lock.
func (p *liveProgress) draw(lines []string) {
	var out bytes.Buffer
	if p.drawn > 0 {
		fmt.Fprintf(&out, "\x1b[%dF", p.drawn) // up to the first of them
	}
	for _, line := range p.above {
		out.WriteString(line + clearRight + "\n")
	}
	columns, rows := p.size()
	columns = max(columns-1, 20)
	if hidden := len(lines) - max(rows-1, 1); hidden > 0 {
		lines = lines[hidden:]
	}
	for i, line := range lines {
		line = runewidth.Truncate(strings.TrimRight(line, " "), columns, "…")
		if i == len(lines)-1 {
			line = p.paint.dim(line)
		}
		out.WriteString(line + clearRight + "\n")
	}
	out.WriteString(clearBelow)
	p.above, p.drawn = nil, len(lines)
	if _, err := p.out.Write(out.Bytes()); err != nil && p.err == nil {
		p.err = fmt.Errorf("write progress: %w", err)
	}
}

// Close implements [Progress]. It removes the lanes.
func (p *liveProgress) Close() error {
	p.mu.Lock()
	if !p.closing {
		p.closing = true
		close(p.stop)
	}
	p.mu.Unlock()
	p.done.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drawn > 0 || len(p.above) > 0 {
		p.draw(nil)
	}
	return p.err
}
