package report

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mattn/go-runewidth"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ordeal-chaos/ordeal/harness/check"
	"github.com/ordeal-chaos/ordeal/harness/history"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// play tells a progress the life of a scenario up to its verdict, two seconds long.
func play(p Progress, name string) {
	p.Update(Update{Scenario: name, Phase: history.Baseline})
	p.Update(Update{Scenario: name, Phase: history.Faults, Operations: 80, Acknowledged: 75})
	p.Update(Update{Scenario: name, Fault: "down on order->kafka-1"})
	time.Sleep(2 * time.Second)
	p.Update(Update{Scenario: name, Operations: 200, Acknowledged: 190})
	p.Update(Update{Scenario: name, Fault: "down on order->kafka-1", Bit: true, Evidence: "41 connections refused"})
}

func TestPlainProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := newPlain(&out)
		p.Update(Update{Note: "downloading Postgres 17"})
		play(p, "broker-outage")
		p.Update(Update{Scenario: "broker-outage", Done: true, Verdict: check.Pass})
		p.Update(Update{Scenario: "idle-link", Fault: "latency on order->stock", Evidence: "nothing crossed the link"})
		p.Update(Update{Scenario: "idle-link", Done: true, Reason: "faults-bit:\nlatency"})
		require.NoError(t, p.Close())
		p.Update(Update{Note: "too late"})

		require.Equal(t, []string{
			"downloading Postgres 17",
			"broker-outage: started",
			"broker-outage: fault down on order->kafka-1 bit: 41 connections refused",
			"broker-outage: pass in 2.0 s, 190/200 acknowledged, 1 fault bit",
			"idle-link: started",
			"idle-link: fault latency on order->stock did not bite: nothing crossed the link",
			`idle-link: unknown in 0.0 s, 0/0 acknowledged, 0 faults bit: faults-bit:\nlatency`,
		}, withoutTime(t, out.String()))
	})
}

// withoutTime checks that every line begins with a time of day, and takes it off.
func withoutTime(t *testing.T, text string) []string {
	t.Helper()
	var lines []string
	for _, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		require.Regexp(t, `^\d\d:\d\d:\d\d `, line)
		lines = append(lines, line[len("15:04:05 "):])
	}
	return lines
}

func TestPlainProgressIsNeverSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := newPlain(&out)
		play(p, "long") // speaks at 0 s and at 2 s
		p.Update(Update{Scenario: "long", Operations: 300, Acknowledged: 290})
		time.Sleep(21 * time.Second) // so heartbeats are due at 12 s and at 22 s
		require.NoError(t, p.Close())
		lines := withoutTime(t, out.String())
		require.Len(t, lines, 4)
		require.Equal(t, "still here: 1 running, 0 passed (long faults 290/300 acknowledged)", lines[2])
		require.Equal(t, lines[2], lines[3])
	})
}

func TestProgressIsSafeForConcurrentUse(t *testing.T) {
	var out bytes.Buffer
	for _, p := range []Progress{newPlain(&out), newLive(&out, false, wide)} {
		var group sync.WaitGroup
		for i := range 8 {
			group.Go(func() {
				for n := range 50 {
					p.Update(Update{Scenario: fmt.Sprintf("s%d", i), Operations: n, Fault: "f", Evidence: "e", Bit: true, Done: n == 49})
				}
			})
		}
		group.Wait()
		require.NoError(t, p.Close())
		require.NoError(t, p.Close(), "closing twice")
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestProgressReportsWriteErrors(t *testing.T) {
	for _, p := range []Progress{newPlain(brokenPipe{}), newLive(brokenPipe{}, false, wide)} {
		p.Update(Update{Scenario: "s", Done: true})
		err := p.Close()
		require.Error(t, err)
		require.True(t, errors.Is(err, os.ErrClosed))
	}
}

func wide() (columns, rows int) { return 120, 24 }

func TestLiveProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		screen := &screen{}
		p := newLive(screen, false, wide)
		play(p, "broker-outage")
		p.Update(Update{Scenario: "lock", Phase: history.Faults, Fault: "latency on order->stock", Operations: 9})
		p.Update(Update{Scenario: "lock", Fault: "pause on stock-2"})
		time.Sleep(redraw + time.Millisecond)
		synctest.Wait()
		require.Equal(t, []string{
			"   2.1 s  broker-outage  faults    190/200 acknowledged    1 fault bit",
			"   0.1 s  lock           faults    0/9 acknowledged        ⚡ latency on order->stock, pause on stock-2",
			"   2.1 s  2 running, 0 passed",
		}, screen.lines())

		p.Update(Update{Scenario: "broker-outage", Done: true, Verdict: check.Pass})
		p.Update(Update{Scenario: "lock", Fault: "pause on stock-2", Evidence: "no message waited"})
		time.Sleep(redraw)
		synctest.Wait()
		require.Equal(t, []string{
			"✓ broker-outage: pass in 2.1 s, 190/200 acknowledged, 1 fault bit",
			"? lock: pause on stock-2 did not bite: no message waited",
			"   0.2 s  lock  faults    0/9 acknowledged        ⚡ latency on order->stock",
			"   2.2 s  1 running, 1 passed",
		}, screen.lines())

		p.Update(Update{Scenario: "lock", Done: true, Verdict: check.Fail, Reason: "stuck-order: order 7"})
		require.NoError(t, p.Close())
		require.Equal(t, []string{
			"✓ broker-outage: pass in 2.1 s, 190/200 acknowledged, 1 fault bit",
			"? lock: pause on stock-2 did not bite: no message waited",
			"✗ lock: fail in 0.2 s, 0/9 acknowledged, 0 faults bit: stuck-order: order 7",
		}, screen.lines(), "what ended stays, and the lanes are gone")
	})
}

// Lanes that wrapped, or more of them than the terminal has rows, could not be drawn over.
func TestLiveProgressFitsItsTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		screen := &screen{}
		p := newLive(screen, true, func() (int, int) { return 40, 5 })
		for i := range 20 {
			p.Update(Update{Scenario: fmt.Sprintf("日本語-%d\x1b[2J\n%s", i, strings.Repeat("x", 90)), Phase: "faults"})
		}
		time.Sleep(3 * redraw)
		require.NoError(t, p.Close())
		for _, drawn := range screen.history {
			require.LessOrEqual(t, len(drawn), 4)
			for _, line := range drawn {
				require.Less(t, runewidth.StringWidth(line), 40, line)
				require.NotContains(t, line, "\x1b[2J")
			}
		}
		require.Greater(t, len(screen.history), 2)
	})
}

// screen is the part of a terminal that live progress uses: lines, colours, "up n lines", "clear to the
// right" and "clear below".
type screen struct {
	text    []string // finished lines
	history [][]string
}

var (
	up     = regexp.MustCompile(`^\x1b\[(\d+)F`)
	colour = regexp.MustCompile(`\x1b\[\d+m`)
)

func (s *screen) Write(data []byte) (int, error) {
	text, cursor := string(data), len(s.text)
	if match := up.FindStringSubmatch(text); match != nil {
		var n int
		if _, err := fmt.Sscan(match[1], &n); err != nil || n > cursor {
			return 0, fmt.Errorf("up %s of %d lines", match[1], cursor)
		}
		cursor -= n
		text = text[len(match[0]):]
	}
	text, cleared := strings.CutSuffix(colour.ReplaceAllString(text, ""), clearBelow)
	for line := range strings.Lines(text) {
		line, whole := strings.CutSuffix(strings.TrimSuffix(line, "\n"), clearRight)
		if !whole && cursor < len(s.text) { // what it does not cover stays
			line += strings.TrimPrefix(s.text[cursor], line[:min(len(line), len(s.text[cursor]))])
		}
		s.text = append(s.text[:cursor:cursor], append([]string{line}, s.text[min(cursor+1, len(s.text)):]...)...)
		cursor++
	}
	if cleared {
		s.text = s.text[:cursor]
	}
	s.history = append(s.history, s.lines())
	return len(data), nil
}

func (s *screen) lines() []string { return append([]string(nil), s.text...) }

func TestColourOnlyOnATerminal(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	defer func() { require.NoError(t, file.Close()) }()
	require.False(t, Terminal(file))
	require.False(t, Colour(file))
	p := NewProgress(file)
	require.IsType(t, &plainProgress{}, p)
	require.NoError(t, p.Close())
}
