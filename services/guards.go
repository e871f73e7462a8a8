package services

import (
	"fmt"
	"slices"
	"strings"
)

// Design is the name of the assembly that these services are when no guard is removed.
const Design = "sound"

// Names of the guards, as given to WITHOUT.
const (
	InboxDedup        = "inbox-dedup"
	Outbox            = "outbox"
	AfterCommitOutbox = "after-commit-outbox"
	ConditionalUpdate = "conditional-update"
	CASTransition     = "cas-transition"
	Sweeper           = "sweeper"
	DeadLetter        = "dead-letter"
	IdempotencyKey    = "idempotency-key"
	AcksAll           = "acks-all"
)

// Guard is one protection of the sound design that can be removed to plant a bug.
type Guard struct {
	Name     string // as in WITHOUT
	Protects string // one sentence: what it keeps true, and what happens without it
}

// Guards returns every guard of the sound design, in the order of the documentation.
func Guards() []Guard {
	return []Guard{
		{InboxDedup, "An event takes effect once, however often it is delivered; without it a redelivered OrderPlaced reserves again."},
		{Outbox, "An event is announced only if its transaction committed; without it events are produced before COMMIT, and a rollback leaves a phantom."},
		{AfterCommitOutbox, "A committed change is always announced; without it events are produced once after COMMIT, and a crash in between loses them."},
		{ConditionalUpdate, "Stock is taken by one conditional UPDATE; without it stock is read, checked and written back, and concurrent orders oversell."},
		{CASTransition, "Only a PENDING order changes status; without it a late answer overwrites a terminal order."},
		{Sweeper, "A PENDING order older than ORDER_TTL is cancelled; without it an order whose answer never comes stays PENDING for ever."},
		{DeadLetter, "A record that exhausted its attempts goes to dlt-<topic>; without it the record is retried for ever and blocks its partition."},
		{IdempotencyKey, "One Idempotency-Key makes one order or reservation; without it a retry after a lost answer makes a second one."},
		{AcksAll, "A produced event is acknowledged by all in-sync replicas; without it a leader that acknowledged it and dies takes it along, while the outbox says published."},
	}
}

// Without is a set of removed guards, sorted by name.
type Without []string

// Lacks reports whether guard was removed.
func (w Without) Lacks(guard string) bool { return slices.Contains(w, guard) }

// String returns the set in the form that ParseGuards reads.
func (w Without) String() string { return strings.Join(w, ",") }

// ParseGuards reads a comma-separated list of guards to remove; an empty list removes none. It refuses a
// name that is no guard, naming the nearest, and a list that contradicts itself.
func ParseGuards(list string) (Without, error) {
	var without Without
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		if !slices.ContainsFunc(Guards(), func(g Guard) bool { return g.Name == name }) {
			return nil, fmt.Errorf("unknown guard %q: did you mean %q?", name, nearestGuard(name))
		}
		without = append(without, name)
	}
	slices.Sort(without)
	without = slices.Compact(without)
	// Both say when an event is produced instead of through the outbox, and they say different things.
	if without.Lacks(Outbox) && without.Lacks(AfterCommitOutbox) {
		return nil, fmt.Errorf("guards %q and %q contradict each other: remove one of them", Outbox, AfterCommitOutbox)
	}
	return without, nil
}

// nearestGuard prefers a guard that name is the beginning of.
func nearestGuard(name string) string {
	distance := func(g Guard) int {
		if strings.HasPrefix(g.Name, name) {
			return 0
		}
		return editDistance(name, g.Name)
	}
	return slices.MinFunc(Guards(), func(a, b Guard) int { return distance(a) - distance(b) }).Name
}

// editDistance is the Levenshtein distance.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
