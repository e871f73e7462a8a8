package check

import (
	"fmt"
	"strings"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// rest says whether the system had come to rest when observation ended, so that what is missing will
// not come any more: it was quiescent, or stuck without activity for the longest timer. When it was
// not, the reason says why liveness cannot be judged.
//
// The first word of the probe's detail says how the drain ended. Where it does not, idle_ms must have
// reached deadline_ms.
func (v *View) rest() (atRest bool, reason string) {
	probe := v.quiescent()
	if probe == nil {
		return false, "the history does not say how the drain ended"
	}
	if probe.OK {
		return true, ""
	}
	outcome, _, _ := strings.Cut(probe.Detail, ";")
	idle, deadline := probe.Numbers["idle_ms"], probe.Numbers["deadline_ms"]
	switch {
	case probe.Numbers["starved"] != 0:
		return false, starved
	case outcome == drainStuck, deadline > 0 && idle >= deadline:
		return true, ""
	default:
		return false, fmt.Sprintf("the drain ended while things still moved (idle for %d ms)%s", idle, detail(probe.Detail))
	}
}

// restless says why the drain does not show that all work ended, empty when it does.
func (v *View) restless() string {
	probe := v.quiescent()
	switch {
	case probe == nil:
		return "the history does not say how the drain ended"
	case probe.OK:
		return ""
	default:
		return "the drain did not end quiescent" + detail(probe.Detail)
	}
}

const starved = "the machine was too busy to judge liveness"

// drainStuck is how the observer of the drain says that nothing moved for longer than any timer.
const drainStuck = "stuck"

func detail(text string) string {
	if text == "" {
		return ""
	}
	return ": " + text
}

// quiescent is the probe of how the drain ended, the last where there are several; nil without one.
func (v *View) quiescent() *Probe {
	for i := len(v.Probes) - 1; i >= 0; i-- {
		if v.Probes[i].Name == history.ProbeQuiescent {
			return &v.Probes[i]
		}
	}
	return nil
}

// latest returns the last probe of each subject, by first sight of the subject.
func (v *View) latest(name string) []*Probe {
	var probes []*Probe
	index := make(map[string]int)
	for i := range v.Probes {
		probe := &v.Probes[i]
		if probe.Name != name {
			continue
		}
		if at, seen := index[probe.Subject]; seen {
			probes[at] = probe
			continue
		}
		index[probe.Subject] = len(probes)
		probes = append(probes, probe)
	}
	return probes
}

// groupOffset is what a group had committed on one partition at the end.
type groupOffset struct {
	group     string
	topic     string
	partition int32
	committed int64 // the next offset to read: zero when nothing was committed
	probe     *Probe
}

func (v *View) groupOffsets() []groupOffset {
	var offsets []groupOffset
	for _, probe := range v.latest(history.ProbeGroup) {
		group, rest, ok := strings.Cut(probe.Subject, "/")
		at, ok2 := parsePosition(rest + "@0")
		if !ok || !ok2 {
			continue
		}
		offsets = append(offsets, groupOffset{
			group: group, topic: at.Topic, partition: at.Partition,
			committed: max(0, probe.Numbers["committed"]), probe: probe,
		})
	}
	return offsets
}
