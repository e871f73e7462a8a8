package check

import (
	"fmt"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

var servesAgain = Guarantee{
	ID: "I5", Name: "serves-again",
	Statement: "After heal, every fresh order is acknowledged.",
	Check:     checkServesAgain,
}

func checkServesAgain(v *View) (f Finding) {
	recovery := v.phase(history.Recovery)
	if recovery == nil {
		return f
	}
	var found []Anomaly
	for _, intent := range v.Intents {
		first := intent.Attempts[0]
		if first.Action != history.Place || first.Invoked.Seq < recovery.Seq {
			continue
		}
		f.Examined++
		if !intent.acknowledged() {
			found = append(found, notRecovered(intent, recovery))
		}
	}
	// An answer that did not come proves something only where client and services had the time for it.
	if reason := v.hurried(); reason != "" && len(found) > 0 {
		f.Unknown = fmt.Sprintf("%s not acknowledged, but %s",
			plural(len(found), "fresh order was", "fresh orders were"), reason)
		return f
	}
	f.Anomalies = found
	return f
}

// hurried says why an answer may be missing through no fault of the services, empty when it may not.
func (v *View) hurried() string {
	probe := v.quiescent()
	if probe != nil && probe.Numbers["starved"] != 0 {
		return starved
	}
	return v.cutShort()
}

func (i *Intent) acknowledged() bool {
	for _, op := range i.Attempts {
		if op.Outcome == history.OK {
			return true
		}
	}
	return false
}

func notRecovered(intent *Intent, recovery *Phase) Anomaly {
	last := intent.Attempts[len(intent.Attempts)-1]
	answer := fmt.Sprintf("the last was answered %d", last.Status)
	switch {
	case last.Completed.Seq == 0:
		answer = "the last never ended"
	case last.Status == 0:
		answer = "the last had no answer"
	}
	subject := "key " + intent.Key
	if intent.Key == "" {
		subject = "order " + last.Order
	}
	anomaly := Anomaly{
		Name: NotRecovered, Subject: subject,
		Detail: fmt.Sprintf("%s to place a fresh order after every fault was healed, and no acknowledgement: %s%s",
			plural(len(intent.Attempts), "attempt", "attempts"), answer, detail(last.Error)),
		Events: []int64{recovery.Seq},
	}
	for _, op := range intent.Attempts {
		anomaly.Events = append(anomaly.Events, op.Invoked.Seq, op.Completed.Seq)
	}
	return anomaly
}
