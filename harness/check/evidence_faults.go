package check

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

var faultsBit = Guarantee{
	ID: "I19", Name: "faults-bit",
	Statement: "Every planned fault was injected, had a measured effect, and was healed.",
	Check:     checkFaultsBit,
}

// faultLife joins the stages of one fault.
type faultLife struct {
	injected, bit bool
	name, why     string
	unhealed      string
}

func checkFaultsBit(v *View) (f Finding) {
	lives := v.faultLives()
	f.Examined = len(lives)
	bad := v.unplayed(lives)
	for _, l := range lives {
		switch {
		case !l.injected:
			bad = append(bad, l.name+" was never injected"+detail(l.why))
		case !l.bit:
			bad = append(bad, l.name+" never bit"+detail(l.why))
		case l.unhealed != "":
			bad = append(bad, l.name+" was not healed"+detail(l.unhealed))
		}
	}
	f.Unknown = summary(bad)
	return f
}

// faultLives are the faults of the history, each once, by first stage.
func (v *View) faultLives() []*faultLife {
	var lives []*faultLife
	byID := make(map[int]*faultLife)
	for _, fault := range v.Faults {
		l := byID[fault.ID]
		if l == nil {
			l = &faultLife{name: fault.Name + " on " + fault.Target}
			byID[fault.ID] = l
			lives = append(lives, l)
		}
		l.injected = l.injected || fault.Stage == history.Injected
		l.bit = l.bit || fault.Stage == history.Observed && fault.Bit
		if fault.Stage == history.Healed && fault.Error != "" {
			l.unhealed = fault.Error
		}
		if text := strings.Trim(fault.Error+"; "+fault.Evidence, "; "); text != "" && !fault.Bit {
			l.why = text
		}
	}
	return lives
}

// unplayed says which planned faults the history does not know at all. A fault planned twice must be
// there twice.
func (v *View) unplayed(lives []*faultLife) []string {
	missing := slices.Clone(v.Header.Faults)
	for _, l := range lives {
		if i := slices.Index(missing, l.name); i >= 0 {
			missing = slices.Delete(missing, i, i+1)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%d of %s never injected: %s",
		len(missing), plural(len(v.Header.Faults), "planned fault was", "planned faults were"), summary(missing))}
}
