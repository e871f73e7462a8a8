package check

// Names of anomalies. They are public: reports, scenarios and planted bugs refer to them.
const (
	NegativeStock         = "negative-stock"
	ConservationBroken    = "conservation-broken"
	LostUpdate            = "lost-update"
	Oversell              = "oversell"
	StaleCache            = "stale-cache"
	MissingDeduction      = "missing-deduction"
	WrongQuantity         = "wrong-quantity"
	TerminalOverwritten   = "terminal-overwritten"
	IllegalTransition     = "illegal-transition"
	StuckOrder            = "stuck-order"
	LeakedReservation     = "leaked-reservation"
	DoubleEffect          = "double-effect"
	PhantomEvent          = "phantom-event"
	PublishedBeforeCommit = "published-before-commit"
	LostEvent             = "lost-event"
	SkippedRecord         = "skipped-record"
	LostAck               = "lost-ack"
	ReorderedEvent        = "reordered-event"
	SplitKey              = "split-key"
	OutOfOrderApplication = "out-of-order-application"
	DeadLetterLoss        = "dead-letter-loss"
	DeadLetterDamaged     = "dead-letter-damaged"
	AppliedAndDead        = "applied-and-dead-lettered"
	StuckPartition        = "stuck-partition"
	StuckOutbox           = "stuck-outbox"
	StuckReservation      = "stuck-reservation"
	EffectAfterFailure    = "effect-after-failure"
	DuplicateOrder        = "duplicate-order"
	UncommittedAnswer     = "uncommitted-answer"
	PayloadMismatch       = "payload-mismatch"
	LostWrite             = "lost-write"
	InconsistentOffset    = "inconsistent-offset"
	OverCompensation      = "over-compensation"
	LedgerRewritten       = "ledger-rewritten"
	NotRecovered          = "not-recovered"
	ServiceCrashed        = "service-crashed"
	SplitTransaction      = "split-transaction"
	OffsetBeforeEffects   = "offset-before-effects"
	DuplicateReservation  = "duplicate-reservation"
	DuplicateRecord       = "duplicate-record"
	AbortedRead           = "aborted-read"
	UnpaidOrder           = "unpaid-order"
	MissingRefund         = "missing-refund"
	WrongAmount           = "wrong-amount"
	DoubleCharge          = "double-charge"
	RefundWithoutCapture  = "refund-without-capture"
	StuckPayment          = "stuck-payment"
)

// Kind describes one anomaly name.
type Kind struct {
	Name    string
	Meaning string // one sentence
	// Absence says that the proof rests on something not being in the history. Where the
	// observation is not proven complete, such an anomaly is only a suspicion.
	Absence bool
}

// Kinds are all anomaly names, in the order of the guarantees.
var Kinds = []Kind{
	{NegativeStock, "A committed stock row had a column below zero.", false},
	{ConservationBroken, "After a commit, available + reserved + sold was not what was put in.", true},
	{LostUpdate, "A commit moved the stock columns differently from its ledger entries.", true},
	{Oversell, "The ledger reserved and sold more than there was.", true},
	{StaleCache, "At rest the cache counted other stock than the committed row.", true},
	{MissingDeduction, "A confirmed order line was never sold in the ledger.", true},
	{WrongQuantity, "A confirmed order line was sold in another quantity or SKU.", false},
	{LedgerRewritten, "An entry of an append-only ledger was changed or deleted.", false},
	{TerminalOverwritten, "An order, a reservation or a payment that had ended changed its status.", false},
	{IllegalTransition, "An order, a reservation or a payment changed in a way that its state machine forbids.", false},
	{StuckOrder, "An order was still pending when nothing moved any more.", true},
	{NotRecovered, "A fresh order was not acknowledged after every fault was healed.", false},
	{LeakedReservation, "A cancelled or nonexistent order kept stock.", true},
	{DoubleEffect, "One event or order line took effect twice.", false},
	{SplitTransaction, "What belongs in one transaction was committed in two, or in part.", true},
	{PhantomEvent, "A visible event announces what was never committed.", true},
	{PublishedBeforeCommit, "An event left its service before the commit it announces.", false},
	{LostEvent, "A committed change was never announced.", true},
	{SkippedRecord, "A consumer group committed past a record that it did not handle.", true},
	{OffsetBeforeEffects, "A consumer committed its offset before the effects of the record.", false},
	{LostAck, "What was acknowledged to a client is not in the database, or an event that a broker acknowledged is not in its topic.", true},
	{ReorderedEvent, "Events of one order first appear in the log out of order.", false},
	{SplitKey, "Events of one order are on several partitions.", false},
	{OutOfOrderApplication, "A consumer applied an older event of an order after a newer one.", false},
	{DeadLetterLoss, "A record that was given up is not in the dead-letter topic.", true},
	{DeadLetterDamaged, "A dead letter differs from the record that it keeps.", false},
	{AppliedAndDead, "One event was both applied and dead-lettered.", false},
	{StuckPartition, "Records stayed unconsumed when nothing moved any more.", true},
	{StuckOutbox, "An outbox row stayed unpublished when nothing moved any more.", true},
	{StuckReservation, "A reservation stayed open when nothing moved any more.", true},
	{ServiceCrashed, "A process of a service ended by itself.", false},
	{EffectAfterFailure, "A request that failed for certain took effect.", false},
	{DuplicateOrder, "One idempotency key made several orders.", false},
	{DuplicateReservation, "One idempotency key made several reservations.", false},
	{UncommittedAnswer, "An answer showed an order state that was never committed.", true},
	{PayloadMismatch, "An event says something else than the rows that it announces.", false},
	{LostWrite, "A produce that the broker acknowledged is not at its offset in the log.", true},
	{InconsistentOffset, "One offset was read with two values, or the log lost what it had shown.", false},
	{DuplicateRecord, "An idempotent producer's event is in its topic twice.", false},
	{AbortedRead, "A consumer acted on a record whose transaction was aborted.", true},
	{OverCompensation, "More was released than reserved, or another quantity.", true},
	{UnpaidOrder, "A confirmed order was never charged, or its payment was given back.", true},
	{MissingRefund, "A cancelled or nonexistent order was charged, and never refunded.", true},
	{WrongAmount, "Another amount was captured than the order costs, or refunded than was captured.", false},
	{DoubleCharge, "An order was charged or refunded twice.", false},
	{RefundWithoutCapture, "An order was refunded that had not been charged.", true},
	{StuckPayment, "An amount was still held when nothing moved any more.", true},
}

// restsOnAbsence is derived from Kinds once; it is never written again.
var restsOnAbsence = func() map[string]bool {
	names := make(map[string]bool, len(Kinds))
	for _, kind := range Kinds {
		names[kind.Name] = kind.Absence
	}
	return names
}()
