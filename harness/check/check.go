// Package check owns the guarantees of the order and stock services, and judges a history by them.
// It is pure: what it says depends on the history alone, and only [JudgeFile] touches a file.
//
// Observations of different sources are never compared by clock. They are joined by event id, then
// rows are ordered by LSN, records by offset, and wire messages by Seq.
package check

import "slices"

// Anomaly is one violation, named and located.
type Anomaly struct {
	Name      string `json:"name"`      // one of the names in [Kinds]
	Guarantee string `json:"guarantee"` // name of the guarantee it breaks
	// Subject is "order X", "sku Y", "event Z", "reservation R", "key K", "process P", or "topic/partition".
	Subject string `json:"subject"`
	Detail  string `json:"detail"` // one sentence with the figures
	// Events are the Seq of the history events that prove it, ascending. What is proven by absence
	// names the events that made the missing one due.
	Events []int64 `json:"events"`
}

// Guarantee is one promise of the system, and the function that looks for its violations.
type Guarantee struct {
	ID        string // number of the invariant: "I1"
	Name      string // "stock-never-negative"
	Statement string // one sentence
	Check     func(*View) Finding
}

// Finding is what one check saw.
type Finding struct {
	// Examined counts the subjects that could have violated the guarantee. Zero proves nothing.
	Examined  int
	Anomalies []Anomaly
	// Unknown says why some subjects could not be judged. It rules out a pass, not a failure.
	Unknown string
	// Facts are counts worth reporting that violate nothing, such as duplicate records.
	Facts map[string]int64
}

// Result is the verdict on one guarantee.
type Result struct {
	ID        string           `json:"id"`
	Name      string           `json:"name"`
	Statement string           `json:"statement"`
	Verdict   Verdict          `json:"verdict"`
	Examined  int              `json:"examined"`
	Required  bool             `json:"required"` // the scenario declares that it exercises it
	Skipped   bool             `json:"skipped"`  // nothing to examine and not required: does not count
	Anomalies []Anomaly        `json:"anomalies,omitempty"`
	Reason    string           `json:"reason,omitempty"` // why it is unknown
	Facts     map[string]int64 `json:"facts,omitempty"`
}

// Judgement is the verdict on one history.
type Judgement struct {
	Verdict Verdict `json:"verdict"`
	// Results holds the evidence first (ID "I19"), then the guarantees in the order given.
	Results []Result `json:"results"`
	// Reasons say why the verdict is, or without its failures would be, unknown.
	Reasons []string `json:"reasons,omitempty"`
}

// Anomalies returns the anomalies of the guarantees that failed, in the order of the results.
func (j Judgement) Anomalies() []Anomaly {
	var all []Anomaly
	for _, result := range j.Results {
		if result.Verdict == Fail {
			all = append(all, result.Anomalies...)
		}
	}
	return all
}

// Result returns the result of that name; false when there is none.
func (j Judgement) Result(name string) (Result, bool) {
	for _, result := range j.Results {
		if result.Name == name {
			return result, true
		}
	}
	return Result{}, false
}

// Payments are the guarantees of a payment service, where orders are paid for, besides [OrderAndStock].
var Payments = []Guarantee{paymentsMatchOrders, chargedOnce}

// OrderAndStock are the guarantees of the order and stock services, without payment.
var OrderAndStock = []Guarantee{
	stockNeverNegative,
	stockConserved,
	confirmedOrdersDeductedOnce,
	legalTransitions,
	ordersEnd,
	servesAgain,
	noLeakedReservation,
	effectsAtMostOnce,
	effectsWithInbox,
	noPhantomEvent,
	publishedAfterCommit,
	noLostEvent,
	consumedRecordsHandled,
	offsetAfterEffects,
	acknowledgedIsDurable,
	acknowledgedRecordsSurvive,
	perKeyOrder,
	deadLettersComplete,
	converges,
	servicesStayUp,
	answersHold,
	eventsMatchRows,
	logSound,
	compensationBounded,
}

// Optional are guarantees that only some systems promise, instead of some of [OrderAndStock] or besides them. They are
// selected by name, with [Only].
var Optional = []Guarantee{
	noLostDecision,
	noDuplicateRecord,
	noAbortedRead,
	CacheAgrees,
}

// All returns every guarantee there is. No system promises all of them.
func All() []Guarantee { return slices.Concat(OrderAndStock, Payments, Optional) }
