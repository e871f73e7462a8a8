package check

import (
	"strings"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

var carriedOut = Guarantee{
	ID: "I19", Name: "carried-out",
	Statement: "The harness carried the experiment out to its end.",
	Check: func(v *View) (f Finding) {
		f.Examined = len(v.Phases)
		f.Unknown = v.cutShort()
		return f
	},
}

// cutShort says why the experiment did not reach its end, empty when it did.
func (v *View) cutShort() string {
	for _, probe := range v.Probes {
		if probe.Name != history.ProbeHarness || probe.OK {
			continue
		}
		if reason, _, _ := strings.Cut(strings.TrimSpace(probe.Detail), "\n"); reason != "" {
			return reason
		}
		return "the harness could not carry the experiment out, and does not say why"
	}
	if v.phase(history.End) == nil {
		return "the history ends before the experiment does"
	}
	return ""
}

// phase returns the first start of a part of the run, nil when it never began.
func (v *View) phase(name string) *Phase {
	for i := range v.Phases {
		if v.Phases[i].Name == name {
			return &v.Phases[i]
		}
	}
	return nil
}
