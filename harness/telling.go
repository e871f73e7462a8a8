package harness

import (
	"cmp"
	"math"
	"slices"

	"github.com/ordeal-chaos/ordeal/harness/check"
)

// consequences are the anomalies in what is left in the end, which another anomaly usually explains: an
// order that was wrongly confirmed also lacks its deduction.
var consequences = []string{
	check.MissingDeduction, check.LeakedReservation, check.StuckOrder, check.StuckReservation,
	check.ConservationBroken, check.Oversell, check.NegativeStock,
}

// explains lists, for an anomaly, those that follow from it: an event whose acknowledged record is gone was
// announced, and is lost all the same.
var explains = map[string][]string{
	check.LostAck: {check.LostEvent, check.LostWrite, check.DeadLetterLoss},
}

// mostTellingFirst sorts anomalies by name and then by the event that completed their proof. A name comes
// first that is no mere consequence, and then the one whose first proof was complete first: a cause comes
// before what it leads to.
func mostTellingFirst(anomalies []check.Anomaly) []check.Anomaly {
	type rank struct {
		consequence int
		first       int64
		listed      int // where the checkers named it first, to tell equals apart
	}
	ranks := map[string]rank{}
	for i, a := range anomalies {
		r, known := ranks[a.Name]
		if !known {
			r = rank{listed: i, first: completed(a)}
			if slices.Contains(consequences, a.Name) {
				r.consequence = 1
			}
		}
		r.first = min(r.first, completed(a))
		ranks[a.Name] = r
	}
	for cause, follow := range explains {
		if _, named := ranks[cause]; !named {
			continue
		}
		for _, name := range follow {
			if r, named := ranks[name]; named {
				r.consequence = 1
				ranks[name] = r
			}
		}
	}
	sorted := slices.Clone(anomalies)
	slices.SortStableFunc(sorted, func(a, b check.Anomaly) int {
		x, y := ranks[a.Name], ranks[b.Name]
		return cmp.Or(
			cmp.Compare(x.consequence, y.consequence), cmp.Compare(x.first, y.first), cmp.Compare(x.listed, y.listed),
			cmp.Compare(completed(a), completed(b)),
		)
	})
	return sorted
}

// completed is the number of the event that completed an anomaly's proof.
func completed(a check.Anomaly) int64 {
	if len(a.Events) == 0 {
		return math.MaxInt64
	}
	return slices.Max(a.Events)
}
