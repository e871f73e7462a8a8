package check

import "fmt"

var legalTransitions = Guarantee{
	ID: "I4", Name: "legal-transitions",
	Statement: "An order starts pending, ends once as confirmed or cancelled, and then never changes.",
	Check:     checkLegalTransitions,
}

func checkLegalTransitions(v *View) (f Finding) {
	for _, order := range v.Orders {
		for i, version := range order.Versions {
			f.Examined++
			if i == 0 {
				if version.Status != Pending || version.Version != 1 {
					f.Anomalies = append(f.Anomalies, Anomaly{
						Name: IllegalTransition, Subject: "order " + order.ID,
						Detail: fmt.Sprintf("its first committed state is %s version %d, not %s version 1", version.Status, version.Version, Pending),
						Events: []int64{version.Seq},
					})
				}
				continue
			}
			before := order.Versions[i-1]
			if name := illegal(before, version); name != "" {
				f.Anomalies = append(f.Anomalies, Anomaly{
					Name: name, Subject: "order " + order.ID,
					Detail: fmt.Sprintf("the commit at LSN %d took it from %v to %v", version.LSN, before, version),
					Events: []int64{before.Seq, version.Seq},
				})
			}
		}
	}
	return f
}

// String says status and version.
func (v OrderVersion) String() string {
	if v.Deleted {
		return "a deleted row"
	}
	return fmt.Sprintf("%s version %d", v.Status, v.Version)
}

func terminal(status string) bool { return status == Confirmed || status == Cancelled }

// illegal names the anomaly of a change, empty when it is legal. An update that touches neither
// status nor version is no transition.
func illegal(before, after OrderVersion) string {
	switch {
	case !before.Deleted && !after.Deleted && before.Status == after.Status && before.Version == after.Version:
		return ""
	case !before.Deleted && terminal(before.Status) && before.Status != after.Status:
		return TerminalOverwritten
	case before.Deleted || after.Deleted || before.Status != Pending || !terminal(after.Status):
		return IllegalTransition
	case after.Version != before.Version+1:
		return IllegalTransition
	default:
		return ""
	}
}
