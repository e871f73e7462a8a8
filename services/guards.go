package services

import (
	"fmt"
	"slices"
	"strings"
)

// Names of the guards, as given to WITHOUT.
const (
	InboxDedup         = "inbox-dedup"
	InboxInTransaction = "inbox-in-transaction"
	DedupByEvent       = "dedup-by-event"
	AckAfterEffect     = "ack-after-effect"
	StopOnError        = "stop-on-error"
	ResetEarliest      = "reset-earliest"
	DeadLetter         = "dead-letter"
	AwaitDeadLetter    = "await-dead-letter"
	RetryKeepsOrder    = "retry-keeps-order"

	Outbox               = "outbox"
	AfterCommitOutbox    = "after-commit-outbox"
	MarkAfterAck         = "mark-after-ack"
	RelayLock            = "relay-lock"
	RecordKey            = "record-key"
	Horizon              = "horizon"
	NotifyFallback       = "notify-fallback"
	SlotSnapshot         = "slot-snapshot"
	AcksAll              = "acks-all"
	IdempotentProducer   = "idempotent-producer"
	ReadCommitted        = "read-committed"
	TransactionEpoch     = "transaction-epoch"
	CompensateOnce       = "compensate-once"
	CompensateFirst      = "compensate-first"
	AnnounceCompensation = "announce-compensation"

	CASTransition     = "cas-transition"
	Sweeper           = "sweeper"
	IdempotencyKey    = "idempotency-key"
	SynchronousCommit = "synchronous-commit"

	ConditionalUpdate = "conditional-update"
	VersionCheck      = "version-check"
	EpochFence        = "epoch-fence"
	CacheUndo         = "cache-undo"

	RefundLate        = "refund-late"
	TryReserves       = "try-reserves"
	EmptyRollback     = "empty-rollback"
	SuspensionFence   = "suspension-fence"
	FencedTryFails    = "fenced-try-fails"
	ExpiryAsks        = "expiry-asks"
	ConfirmIdempotent = "confirm-idempotent"
	SettleOnce        = "settle-once"
)

// GuardMissing is what a service logs when it first comes to where a removed guard would have acted; the attribute "guard"
// names the guard. Without that line, a planted bug never ran.
const GuardMissing = "guard is missing"

// Guard is one protection of a design that can be removed to plant a bug.
type Guard struct {
	Name     string   // as in WITHOUT
	Protects string   // one sentence: what it keeps true, and what happens without it
	Parts    []string // it protects designs with one of these parts; nil: every design
}

// consuming are the guards of what consumes events; reserving those of reservations that clients make over REST.
var (
	consuming = []string{InboxDedup, InboxInTransaction, DedupByEvent, AckAfterEffect, StopOnError, ResetEarliest, DeadLetter}
	reserving = []string{ConfirmIdempotent, SettleOnce}
)

// in reports whether designs with these parts have the guard.
func (g Guard) in(p Parts) bool {
	switch {
	case slices.Contains(consuming, g.Name) && len(p.Consumes(StockService)) == 0:
		return false
	case slices.Contains(reserving, g.Name) && p.Stock == SingleWriter:
		return false
	}
	return g.Parts == nil || slices.ContainsFunc(p.Names(), func(name string) bool { return slices.Contains(g.Parts, name) })
}

// Guards returns every guard of every design, in the order of the documentation.
func Guards() []Guard {
	tcc := []string{TCCRest, TCCKafka}
	coordinated := []string{Saga, TCCRest, TCCKafka}
	return []Guard{
		{InboxDedup, "An event takes effect once, however often it is delivered; without it a redelivered OrderPlaced reserves again.", nil},
		{InboxInTransaction, "Whether an event was handled is decided in the transaction of its effect; without it the inbox is asked once before, and overlapping consumers both go on.", nil},
		{DedupByEvent, "The inbox tells events apart by their id; without it by their order, and all but the first event of an order are taken for duplicates.", nil},
		{AckAfterEffect, "The offset of a record is committed after its effect; without it as soon as the record was fetched, and a crash in between loses it.", []string{AckTime, AckRecord, AckBatch, AckCount, AckCountTime, AckManual, AckManualImmediate}},
		{StopOnError, "A record that failed is tried again before the next; without it the error is only logged, and the next record's offset passes it.", nil},
		{ResetEarliest, "A partition without a committed offset is read from its beginning; without it from its end, and what is in it is never handled.", nil},
		{DeadLetter, "A record that exhausted its attempts goes to dlt-<topic>; without it the record is retried for ever and blocks its partition.", nil},
		{AwaitDeadLetter, "The offset of a given-up record is committed once its dead letter was acknowledged; without it at once, and a broker fault loses both.", []string{DirectDeadLetter}},
		{RetryKeepsOrder, "Records of an order that has one in a retry topic queue behind it; without it they overtake.", []string{RetryTopics}},

		{Outbox, "An event is announced only if its transaction committed; without it events are produced before COMMIT, and a rollback leaves a phantom.", []string{OutboxPolling}},
		{AfterCommitOutbox, "A committed change is always announced; without it events are produced once after COMMIT, and a crash in between loses them.", []string{OutboxPolling}},
		{MarkAfterAck, "An outbox row is marked once its event was acknowledged; without it before, and a crash in between loses the event.", []string{OutboxPolling, OutboxNotify}},
		{RelayLock, "One relay at a time publishes an outbox; without it each takes the rows that the others do not hold, and later events of an order overtake.", []string{OutboxPolling, OutboxNotify}},
		{RecordKey, "Events are keyed by their order, and so on one partition; without it they have no key, and a consumer sees them in any order.", nil},
		{Horizon, "The cursor never passes a transaction that is still running; without it rows that commit late are skipped.", []string{OutboxCursor}},
		{NotifyFallback, "The relay polls now and then, whatever it is notified of; without it rows that were committed while its connection was down wait for ever.", []string{OutboxNotify}},
		{SlotSnapshot, "A replication slot that had to be made anew begins with the rows that are not published; without it they count as published, and what was committed in between is lost.", []string{OutboxLogical}},
		{AcksAll, "A produced event is acknowledged by all in-sync replicas; without it a leader that acknowledged it and dies takes it along, while the outbox says published.", []string{OutboxPolling, OutboxCursor, OutboxNotify, OutboxLogical}},
		{IdempotentProducer, "The producer numbers its batches, so that one sent again lands once; without it a lost acknowledgement leaves two.", []string{InTransaction, AfterCommit, TimeoutCompensation}},
		{ReadCommitted, "Consumers read committed records only; without it they act on events of aborted transactions.", []string{KafkaTransaction}},
		{TransactionEpoch, "Each transaction has an epoch of its own (KIP-890), so that a request of an earlier one is refused; without it a delayed EndTxn ends the next transaction.", []string{KafkaTransaction}},
		{CompensateOnce, "Stock is given back once for each order that failed; without it by every attempt that was rolled back.", []string{StockFirst}},
		{CompensateFirst, "The compensation is registered before anything of the order can fail; without it after the first statement, whose failure then keeps the stock.", []string{StockFirst}},
		{AnnounceCompensation, "An order cancelled because its send timed out says so, in case the send arrived after all; without it the others act on an order that is dead.", []string{TimeoutCompensation}},

		{CASTransition, "Only a PENDING order changes status; without it a late answer overwrites a terminal order.", nil},
		{Sweeper, "A PENDING order older than ORDER_TTL is cancelled; without it an order whose answer never comes stays PENDING for ever.", nil},
		{IdempotencyKey, "One Idempotency-Key makes one order or reservation; without it a retry after a lost answer makes a second one.", nil},
		{SynchronousCommit, "COMMIT is answered when it is on disk; without it (synchronous_commit=off) a crash of Postgres takes what was acknowledged.", nil},

		{ConditionalUpdate, "Stock is taken by one conditional UPDATE; without it stock is read, checked and written back, and concurrent orders oversell.", []string{ConditionalStock}},
		{VersionCheck, "Stock is written back only where its version is the one that was read; without it over whatever others wrote in between.", []string{VersionColumn}},
		{EpochFence, "Only the owner of the partition's latest generation writes stock; without it one that lost the partition and does not know goes on.", []string{SingleWriter}},
		{CacheUndo, "What a transaction took from the cache is given back when it rolls back; without it the cache and the database part.", []string{RedisCounter}},

		{RefundLate, "A charge for an order that was cancelled is refused or refunded; without it the customer has paid for nothing.", []string{Payment}},
		{TryReserves, "Try takes the stock that Confirm sells; without it Try only looks, and concurrent orders oversell.", coordinated},
		{EmptyRollback, "Cancel of a Try that never took anything gives nothing back; without it stock appears from nowhere.", coordinated},
		{SuspensionFence, "A Try that arrives after its Cancel is refused; without it it reserves for a dead order.", coordinated},
		{FencedTryFails, "A Try that was fenced off is answered as a failure; without it as a success, and an order is confirmed that holds nothing.", coordinated},
		{ExpiryAsks, "What a Try took expires only when its order says that it is dead; without it after its time to live, also while Confirm is on its way.", tcc},
		{ConfirmIdempotent, "Confirming a second time is answered as the first; without it the retry of a lost answer is told that there is nothing.", nil},
		{SettleOnce, "A reservation that was confirmed cannot be cancelled any more; without it a late Cancel gives back what was sold.", nil},
	}
}

// Without is a set of removed guards, sorted by name.
type Without []string

// Lacks reports whether guard was removed.
func (w Without) Lacks(guard string) bool { return slices.Contains(w, guard) }

// String returns the set in the form that ParseGuards reads.
func (w Without) String() string { return strings.Join(w, ",") }

// ParseGuards reads a comma-separated list of guards to remove; an empty list removes none. It refuses a
// name that is no guard, naming the nearest, and a list that contradicts itself. Whether a design has them, [Design.Remove] knows.
func ParseGuards(list string) (Without, error) {
	var without Without
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		if !slices.ContainsFunc(Guards(), func(g Guard) bool { return g.Name == name }) {
			return nil, fmt.Errorf("unknown guard %q: did you mean %q?", name, nearest(name, guardNames()))
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

func guardNames() []string {
	var names []string
	for _, guard := range Guards() {
		names = append(names, guard.Name)
	}
	return names
}

// nearest returns the name that is most like what was typed, preferring one that begins with it.
func nearest(typed string, names []string) string {
	distance := func(name string) int {
		if strings.HasPrefix(name, typed) {
			return 0
		}
		return editDistance(typed, name)
	}
	return slices.MinFunc(names, func(a, b string) int { return distance(a) - distance(b) })
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
