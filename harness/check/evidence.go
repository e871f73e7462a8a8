package check

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// Evidence are the conditions (I19) without which a run proves nothing. They are judged like guarantees,
// but where one does not hold the verdict is unknown, never a failure. The last three are judged only
// where the scenario declares that it exercises them.
var Evidence = []Guarantee{
	carriedOut, noBypass, completeObservation, faultsBit, workAcknowledged, baselineAcknowledged,
	contention, duplicates, declines,
}

// onDemand says whether a condition is one of those that only some scenarios meet.
func (g Guarantee) onDemand() bool {
	return g.Name == contention.Name || g.Name == duplicates.Name || g.Name == declines.Name
}

var noBypass = Guarantee{
	ID: "I19", Name: "no-bypass",
	Statement: "Every connection that a server accepted came through a link or from an observer.",
	Check: func(v *View) (f Finding) {
		// Any probe counts, not the last: a connection once made round its link stays made.
		var bad []string
		for _, probe := range v.Probes {
			if probe.Name != history.ProbeBypass {
				continue
			}
			f.Examined++
			if !probe.OK {
				bad = append(bad, probe.Subject+detail(probe.Detail))
			}
		}
		switch {
		case len(bad) > 0:
			f.Unknown = "it is not proven that no connection went round its link: " + strings.Join(bad, "; ")
		case f.Examined == 0:
			f.Unknown = "no server's peers were compared with the links"
		}
		return f
	},
}

var completeObservation = Guarantee{
	ID: "I19", Name: "complete-observation",
	Statement: "The taps saw every committed row and every record.",
	Check:     checkCompleteObservation,
}

func checkCompleteObservation(v *View) (f Finding) {
	bad := slices.Clone(v.disorder)
	seen := make(map[string]bool) // "probe subject", and "probe first/part" of the subject
	for _, name := range []string{history.ProbeTable, history.ProbeTap, history.ProbeTopic} {
		for _, probe := range v.latest(name) {
			f.Examined++
			seen[name] = true
			seen[name+" "+probe.Subject] = true
			if cut := strings.LastIndexAny(probe.Subject, "/."); cut >= 0 {
				seen[name+" "+probe.Subject[:cut]] = true
			}
			if !probe.OK {
				bad = append(bad, probe.Subject+" was not seen whole"+detail(probe.Detail))
			}
		}
	}
	want := func(name, subject string) {
		if subject != "" && !seen[name+" "+subject] {
			bad = append(bad, fmt.Sprintf("no %s probe of %s", name, subject))
		}
	}
	for _, service := range v.services() {
		want(history.ProbeTable, service.Database)
		for _, topic := range service.Produces {
			want(history.ProbeTopic, topic)
		}
	}
	for _, process := range v.Processes {
		// What a server lost with its process may be what a tap missed. A service that ends is judged.
		if process.Unasked && process.State == history.Exited && v.serviceOf(process.Name) == "" {
			bad = append(bad, fmt.Sprintf("%s exited by itself with %s", process.Name, ending(process)))
		}
	}
	if !seen[history.ProbeTap] {
		bad = append(bad, "no tap said whether it saw everything")
	}
	if len(bad) > 0 {
		f.Unknown = summary(bad)
	}
	return f
}

// summary joins the first few of many.
func summary(texts []string) string {
	const most = 5
	if len(texts) > most {
		return fmt.Sprintf("%s; and %d more", strings.Join(texts[:most], "; "), len(texts)-most)
	}
	return strings.Join(texts, "; ")
}

var workAcknowledged = Guarantee{
	ID: "I19", Name: "work-acknowledged",
	Statement: "At least one order or reservation was acknowledged to a client.",
	Check: func(v *View) (f Finding) {
		for _, op := range v.Ops {
			if op.acknowledgesWork() {
				f.Examined++
			}
		}
		if f.Examined == 0 {
			f.Unknown = "no client was ever acknowledged an order or a reservation"
		}
		return f
	},
}

func (o *Op) acknowledgesWork() bool {
	return o.Outcome == history.OK && (o.Action == history.Place || o.Action == history.Reserve)
}

var baselineAcknowledged = Guarantee{
	ID: "I19", Name: "baseline-acknowledged",
	Statement: "The fault-free baseline acknowledged work.",
	Check: func(v *View) (f Finding) {
		from, to := int64(-1), int64(-1) // Seqs of the baseline and of what follows it
		for _, phase := range v.Phases {
			if phase.Name == history.Baseline {
				from = phase.Seq
			} else if from >= 0 && to < 0 {
				to = phase.Seq
			}
		}
		if from < 0 {
			return f // a run without a baseline claims nothing about one
		}
		for _, op := range v.Ops {
			if op.acknowledgesWork() && op.Completed.Seq > from && (to < 0 || op.Completed.Seq < to) {
				f.Examined++
			}
		}
		if f.Examined == 0 {
			f.Unknown = "no work was acknowledged before the first fault"
		}
		return f
	},
}

// ranShort says whether there was ever less of a line's SKU than it asks for.
func (v *View) ranShort(line OrderLine) bool {
	short := func(row StockRow) bool { return !row.Deleted && row.Available < line.Qty }
	return slices.ContainsFunc(v.SKUs, func(sku *SKU) bool { return sku.Name == line.SKU && slices.ContainsFunc(sku.Rows, short) })
}

var contention = Guarantee{
	ID: "I19", Name: "contention",
	Statement: "Transactions on one SKU overlapped, and some orders were rejected.",
	Check: func(v *View) (f Finding) {
		for _, probe := range v.Probes {
			if probe.Name == history.ProbeOverlap {
				f.Examined += int(probe.Numbers["overlaps"])
			}
		}
		rejected := 0
		for _, reservation := range v.Reservations {
			if reservation.Status() == ReservationRejected {
				rejected++
			}
		}
		for _, order := range v.Orders {
			// Where stock is asked for over REST, its refusal leaves no row; but it ran short.
			if order.Status() == Cancelled && len(order.Reservations) == 0 && slices.ContainsFunc(order.Lines, v.ranShort) {
				rejected++
			}
		}
		if f.Examined == 0 || rejected == 0 {
			f.Unknown = fmt.Sprintf("%s on one SKU overlapped and %s rejected: no contention",
				plural(f.Examined, "transaction", "transactions"), plural(rejected, "order was", "orders were"))
		}
		return f
	},
}

var duplicates = Guarantee{
	ID: "I19", Name: "duplicates",
	Statement: "At least one event is in the log more than once.",
	Check: func(v *View) (f Finding) {
		for _, event := range v.Events {
			if len(event.Records) > 1 {
				f.Examined++
			}
		}
		if f.Examined == 0 {
			f.Unknown = "no event is in the log twice"
		}
		return f
	},
}

var declines = Guarantee{
	ID: "I19", Name: "declines",
	Statement: "At least one payment was declined.",
	Check: func(v *View) (f Finding) {
		for _, payment := range v.Payments {
			if payment.Status() == PaymentDeclined {
				f.Examined++
			}
		}
		if f.Examined == 0 {
			f.Unknown = "no payment was declined"
		}
		return f
	},
}
