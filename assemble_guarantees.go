package ordeal

import (
	"slices"

	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/check"
	"github.com/ordeal-chaos/ordeal/services"
)

// Names of guarantees that depend on how events are published.
const (
	noLostEvent          = "no-lost-event"
	noLostDecision       = "no-lost-decision"
	publishedAfterCommit = "published-after-commit"
	noDuplicateRecord    = "no-duplicate-record"
	noAbortedRead        = "no-aborted-read"
)

// guarantees are those that a design is judged by: what it does not even promise is no violation.
func (a assembly) guarantees() []check.Guarantee {
	var names []string
	for _, guarantee := range check.OrderAndStock {
		names = append(names, guarantee.Name)
	}
	return check.Only(a.promised(names)...)
}

// exercises are those of them that any run exercises: transactions do not always abort, and not every design consumes.
func (a assembly) exercises() []string {
	names := a.promised(slices.Clone(harness.EveryRun))
	consumers := []string{"consumed-records-handled", "offset-after-effects"}
	nobodyConsumes := len(a.design.Parts.Consumes(services.StockService)) == 0
	return slices.DeleteFunc(names, func(name string) bool {
		return name == noAbortedRead || nobodyConsumes && slices.Contains(consumers, name)
	})
}

// promised changes a list of guarantees into that of the design's way of publishing.
func (a assembly) promised(names []string) []string {
	if a.paid() {
		for _, guarantee := range check.Payments {
			if !slices.Contains(names, guarantee.Name) {
				names = append(names, guarantee.Name)
			}
		}
	}
	if a.cached() {
		names = append(names, check.CacheAgrees.Name)
	}
	not := func(name string) bool { return name == publishedAfterCommit }
	switch a.design.Parts.Publishing {
	case services.InTransaction:
		// Its events leave before COMMIT by design; what comes of that is a phantom, or is not.
		return append(slices.DeleteFunc(names, not), noDuplicateRecord)
	case services.AfterCommit:
		return append(names, noDuplicateRecord)
	case services.TimeoutCompensation:
		names[slices.Index(names, noLostEvent)] = noLostDecision
		return append(names, noDuplicateRecord)
	case services.KafkaTransaction:
		// Its events leave before COMMIT too, and show after it.
		return append(slices.DeleteFunc(names, not), noDuplicateRecord, noAbortedRead)
	default:
		return names
	}
}
