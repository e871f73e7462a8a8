package report

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// Measures of the time axis, in the units of its drawing.
const (
	plotLeft, plotRight = 230.0, 990.0 // names stand left of the plot
	phaseHeight         = 20.0
	faultHeight         = 20.0
	dotsHeight          = 120.0
	axisHeight          = 24.0
	faultRows           = 14  // faults drawn; all of them are in the table below
	dotsDrawn           = 800 // operations drawn
)

// timeline is the drawing of one scenario: phases, a row for each fault, and operations by the time they
// took. It holds places and words; the template holds the marks.
type timeline struct {
	Height, PlotTop, DotsTop, DotsBottom float64
	Phases                               []phaseMark
	Faults                               []faultMark
	Hidden                               int // faults that had no room
	Ticks, Levels                        []tick
	OK, Fail, Info                       string // paths
}

type phaseMark struct {
	X, Width, TextX float64
	Name            string // empty where it has no room
	Title           string
	Odd             bool
}

type faultMark struct {
	X, Width, Y, Middle float64
	Reach               float64 // height down to the time axis
	Name, Title         string
	Bit                 bool
}

// tick is a mark at X on the time axis, or at Y on the axis of durations.
type tick struct {
	X, Y float64
	Text string
}

// newTimeline lays out the drawing. It is nil when there is nothing to draw.
func newTimeline(s Scenario) *timeline {
	length := s.length()
	if length <= 0 || len(s.Phases)+len(s.Faults)+len(s.Sample) == 0 {
		return nil
	}
	x := func(ms int64) float64 {
		part := min(max(float64(ms)/float64(length), 0), 1)
		return tenth(plotLeft + part*(plotRight-plotLeft))
	}
	t := &timeline{PlotTop: phaseHeight}
	t.phases(s.Phases, x, length)
	y := phaseHeight + 4
	for i, f := range s.Faults {
		if i == faultRows {
			t.Hidden = len(s.Faults) - i
			y += faultHeight
			break
		}
		end := f.HealedMS
		if end < f.InjectedMS {
			end = length
		}
		from := x(f.InjectedMS)
		t.Faults = append(t.Faults, faultMark{
			X: from, Width: tenth(max(x(end)-from, 3)), Y: y, Middle: y + 11,
			Name: shorten(f.label(), 34), Title: fmt.Sprintf("%s, %s: %s", f.label(), f.window(), f.Evidence), Bit: f.Bit,
		})
		y += faultHeight
	}
	t.DotsTop, t.DotsBottom = y+4, y+4
	if len(s.Sample) > 0 {
		t.DotsBottom += dotsHeight
		t.dots(thin(s.Sample, dotsDrawn), x)
	}
	for i := range t.Faults {
		t.Faults[i].Reach = t.DotsBottom - t.Faults[i].Y
	}
	step := tickStep(length)
	for at := int64(0); at <= length; at += step {
		t.Ticks = append(t.Ticks, tick{X: x(at), Text: fmt.Sprintf("%g s", float64(at)/1000)})
	}
	t.Height = t.DotsBottom + axisHeight
	return t
}

// length is the end of the time axis in milliseconds.
func (s Scenario) length() int64 {
	length := s.LengthMS
	for _, p := range s.Phases {
		length = max(length, p.StartMS)
	}
	for _, f := range s.Faults {
		length = max(length, f.InjectedMS, f.HealedMS)
	}
	for _, o := range s.Sample {
		length = max(length, o.AtMS)
	}
	return length
}

func (t *timeline) phases(phases []Phase, x func(int64) float64, length int64) {
	for i, p := range phases {
		if p.Name == history.End { // a moment, not a part
			continue
		}
		end := length
		if i+1 < len(phases) {
			end = phases[i+1].StartMS
		}
		from, to := x(p.StartMS), x(end)
		mark := phaseMark{X: from, Width: tenth(to - from), TextX: tenth((from + to) / 2), Name: p.Name, Odd: len(t.Phases)%2 == 1}
		mark.Title = p.Name + " from " + clock(time.Duration(p.StartMS)*time.Millisecond)
		if mark.Width < 8*float64(len(p.Name)) {
			mark.Name = ""
		}
		t.Phases = append(t.Phases, mark)
	}
}

// dots places operations, on a logarithmic axis because a fault stretches some of them a thousandfold.
func (t *timeline) dots(sample []Operation, x func(int64) float64) {
	low, high := math.Inf(1), 0.0
	for _, o := range sample {
		low, high = min(low, max(o.TookMS, 0.1)), max(high, o.TookMS, 0.1)
	}
	bottom := math.Floor(math.Log10(low))
	top := max(math.Ceil(math.Log10(high)), bottom+1)
	y := func(ms float64) float64 {
		part := (math.Log10(max(ms, 0.1)) - bottom) / (top - bottom)
		return tenth(t.DotsBottom - 6 - part*(t.DotsBottom-t.DotsTop-12))
	}
	for power := bottom; power <= top; power++ {
		ms := math.Pow(10, power)
		t.Levels = append(t.Levels, tick{X: plotLeft, Y: y(ms), Text: took(ms)})
	}
	var ok, fail, info strings.Builder
	for _, o := range sample {
		path := &info
		switch o.Outcome {
		case history.OK:
			path = &ok
		case history.Fail:
			path = &fail
		}
		fmt.Fprintf(path, "M%g %gh0", x(o.AtMS), y(o.TookMS)) // a line of no length with a round cap is a dot
	}
	t.OK, t.Fail, t.Info = ok.String(), fail.String(), info.String()
}

// thin keeps at most limit operations: those that did not succeed first, because they are the ones to
// look at, and the others evenly.
func thin(sample []Operation, limit int) []Operation {
	if len(sample) <= limit {
		return sample
	}
	ok := 0
	for _, o := range sample {
		if o.Outcome == history.OK {
			ok++
		}
	}
	bad := len(sample) - ok
	okRoom, badRoom := limit, 0
	if bad > 0 {
		badRoom = min(bad, max(limit/2, limit-ok))
		okRoom = limit - badRoom
	}
	var kept []Operation
	var okSeen, badSeen int
	for _, o := range sample {
		seen, total, share := &badSeen, bad, badRoom
		if o.Outcome == history.OK {
			seen, total, share = &okSeen, ok, okRoom
		}
		// The share grows by share/total with each; keep the one that takes it past a whole number.
		if (*seen+1)*share/total > *seen*share/total {
			kept = append(kept, o)
		}
		*seen++
	}
	return kept
}

// tickStep is a round step that gives the axis at most ten ticks.
func tickStep(length int64) int64 {
	for step := int64(1); ; step *= 10 {
		for _, factor := range []int64{1, 2, 5} {
			if length/(step*factor) < 10 {
				return step * factor
			}
		}
	}
}

func took(ms float64) string {
	if ms >= 1000 {
		return fmt.Sprintf("%g s", ms/1000)
	}
	return fmt.Sprintf("%g ms", ms)
}

func tenth(v float64) float64 { return math.Round(v*10) / 10 }
