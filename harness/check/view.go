package check

import (
	"time"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// View is a history joined into the things that it is about. It is read-only once built.
type View struct {
	Header history.Header

	Ops          []*Op     // by invocation
	Intents      []*Intent // by first attempt
	Orders       []*Order  // every order id that rows, records or answers name, by first sight
	SKUs         []*SKU
	Reservations []*Reservation
	Entries      []*Entry   // the stock ledger, in commit order
	Payments     []*Payment // by first sight
	Inbox        []*InboxRow
	Outbox       []*OutboxRow
	Events       []*Event     // every event id that rows or records name, by first sight
	Partitions   []*Partition // by first record
	Probes       []Probe
	Faults       []Fault
	Processes    []Process
	Phases       []Phase

	commits  []commit
	produces []produce
	acks     []ack
	offsets  []offsetCommit
	holds    []hold
	posts    []post
	tokens   []symbol // of all wire messages, one after the other

	symbols      *symbols
	orders       map[string]*Order
	skus         map[string]*SKU
	reservations map[string]*Reservation
	payments     map[string]*Payment
	events       map[string]*Event
	partitions   map[partitionKey]*Partition
	disorder     []string // what makes the record itself doubtful
}

// Mark says when the harness observed something: Seq names the event of the history.
type Mark struct {
	Seq int64
	At  time.Duration
}

// Stamp says which transaction committed a row. LSN orders the commits of one database.
type Stamp struct {
	Mark
	LSN uint64
	Xid uint32
}

// Op is one attempt of a client, its invocation and completion joined.
type Op struct {
	ID                 int64
	Client, Action     string
	Key                string
	Attempt            int
	Order, Reservation string
	Invoked, Completed Mark   // Completed is zero when the attempt never ended
	Outcome            string // history.OK, history.Fail or history.Info
	Status             int
	State, Error       string
}

// Intent is what a client wanted: all attempts with one idempotency key, or one attempt without.
type Intent struct {
	Key      string
	Attempts []*Op
}

// Order joins all that was seen of one order.
type Order struct {
	ID           string
	Key          string   // idempotency key of its row
	Keys         []KeyRow // its rows in idempotency_keys
	Payment      int64    // what it costs
	HasPayment   bool
	Versions     []OrderVersion // committed, in commit order
	Lines        []OrderLine
	Entries      []*Entry // its ledger entries, in commit order
	Reservations []*Reservation
	Payments     []*Payment // more than one is a bug
	Ops          []*Op
	Events       []*Event // that announce it, or that records say are of it
}

// OrderVersion is one committed state of an order row.
type OrderVersion struct {
	Stamp
	Status  string
	Version int64
	EventID string // the event that announces it
	Deleted bool
}

// Order states.
const (
	Pending   = "PENDING"
	Confirmed = "CONFIRMED"
	Cancelled = "CANCELLED"
)

// Exists says whether the order is in its table at the end.
func (o *Order) Exists() bool {
	return len(o.Versions) > 0 && !o.Versions[len(o.Versions)-1].Deleted
}

// Last is the order's final committed version. The order must have one.
func (o *Order) Last() OrderVersion { return o.Versions[len(o.Versions)-1] }

// Status is the order's final status, empty when it does not exist.
func (o *Order) Status() string {
	if !o.Exists() {
		return ""
	}
	return o.Last().Status
}

// OrderLine is a row of order_lines or reservation_lines.
type OrderLine struct {
	Mark
	No  int64
	SKU string
	Qty int64
}

// SKU joins all that was seen of one product.
type SKU struct {
	Name    string
	Rows    []StockRow // every committed version, in commit order
	Entries []*Entry   // its ledger entries, in commit order
	// Rewrites are the changes and deletions of its ledger entries, which should never be.
	Rewrites []Rewrite
}

// Rewrite is a change or a deletion of a ledger entry.
type Rewrite struct {
	Stamp
	EntryID string
	Action  string // "update" or "delete"
}

// StockRow is one committed version of a stock row.
type StockRow struct {
	Stamp
	Available, Reserved, Sold int64
	Deleted                   bool
}

// Operations of the stock ledger.
const (
	LedgerInitial = "initial"
	LedgerRestock = "restock"
	LedgerReserve = "reserve"
	LedgerRelease = "release"
	LedgerSell    = "sell"
)

// Entry is one row of the stock ledger.
type Entry struct {
	Stamp
	SKU, Op            string
	Qty                int64
	Order, Reservation string
	Line               int64  // -1 when none
	EventID            string // the consumed event that caused it
}

// Reservation states.
const (
	ReservationReserved  = "RESERVED"
	ReservationConfirmed = "CONFIRMED"
	ReservationReleased  = "RELEASED"
	ReservationRejected  = "REJECTED"
	ReservationExpired   = "EXPIRED"
)

// Reservation joins all that was seen of one reservation.
type Reservation struct {
	ID       string
	Order    string   // empty: made by a client over HTTP
	Expires  bool     // it has an expiry
	EventID  string   // the event that announced it
	Keys     []KeyRow // its rows in idempotency_keys
	Versions []ReservationVersion
	Lines    []OrderLine
}

// KeyRow is a row of idempotency_keys.
type KeyRow struct {
	Stamp
	Key string
}

// ReservationVersion is one committed state of a reservation row.
type ReservationVersion struct {
	Stamp
	Status  string
	Deleted bool
}

// Status is the final status, empty when the row does not exist.
func (r *Reservation) Status() string {
	if len(r.Versions) == 0 || r.Versions[len(r.Versions)-1].Deleted {
		return ""
	}
	return r.Versions[len(r.Versions)-1].Status
}

// Last is the final committed version; zero when there is none.
func (r *Reservation) Last() ReservationVersion {
	if len(r.Versions) == 0 {
		return ReservationVersion{}
	}
	return r.Versions[len(r.Versions)-1]
}

// Outcomes of a consumed event.
const (
	Applied      = "applied"
	Ignored      = "ignored"
	DeadLettered = "dead-lettered"
	Replayed     = "replayed" // dead-lettered first
)

// InboxRow says that a consumer handled an event.
type InboxRow struct {
	Stamp
	Database, Consumer, EventID, Outcome, Topic string
	Partition                                   int32
	Offset                                      int64
	Alone                                       bool // its transaction changed no other table
}

// OutboxRow is an event that waits, or waited, to be published.
type OutboxRow struct {
	Stamp
	Database, ID, EventID, Topic, Key string
	Published                         Stamp // zero while it waits; a deleted row counts as published
}

// Event joins all that was seen of one event id.
type Event struct {
	ID          string
	Announces   *Announcement // the committed row that it announces; nil when none was seen
	Order       string
	Type        string
	Version     int64     // zero when no record of it could be decoded
	Records     []*Record // on its own topic
	DeadLetters []*Record // on dead-letter topics
	Retries     []*Record // on retry topics
	Inbox       []*InboxRow
	Outbox      []*OutboxRow
	Entries     []*Entry // ledger entries that it caused
}

// Announcement is the committed row version that names an event.
type Announcement struct {
	Order       *Order // of an order row
	Version     OrderVersion
	Reservation *Reservation // of a reservation row
	Payment     *Payment     // of a payment row
	Paid        PaymentVersion
}

// topic is where the event belongs.
func (a *Announcement) topic() string {
	switch {
	case a.Order != nil:
		return orderTopic
	case a.Payment != nil:
		return paymentTopic
	default:
		return stockTopic
	}
}

// seq names the row version in the history.
func (a *Announcement) seq() int64 {
	switch {
	case a.Order != nil:
		return a.Version.Seq
	case a.Payment != nil:
		return a.Paid.Seq
	default:
		return a.Reservation.Last().Seq
	}
}

// Partition is the log of one partition, by offset.
type Partition struct {
	Topic     string
	Number    int32
	Records   []*Record
	conflicts []conflict
	cut       []*Record // read once, and not in the log at the end
	last      int64
}

// Record is one Kafka record.
type Record struct {
	Mark
	Topic     string
	Partition int32
	Offset    int64
	Key       string
	Headers   []RecordHeader // by name
	Digest    [32]byte       // SHA-256 of the value
	EventID   string         // of the payload, else of the header, else "topic/partition@offset"
	Payload   *Payload       // nil when the value is no event
	Broken    string         // why it is none
	Origin    *Position      // of a dead letter or a retry: where it was consumed
	Aborted   bool
	Injected  bool
	Cut       bool // a broker lost it after it had been read: it is not in its partition's Records
}

// RecordHeader is one header of a record.
type RecordHeader struct{ Name, Value string }

// Header returns the value of the named header, empty when it is absent.
func (r *Record) Header(name string) string {
	for _, header := range r.Headers {
		if header.Name == name {
			return header.Value
		}
	}
	return ""
}

// Visible says whether a read_committed consumer sees the record and a service wrote it.
func (r *Record) Visible() bool { return !r.Aborted && !r.Injected }

// Position is the place of a record.
type Position struct {
	Topic     string
	Partition int32
	Offset    int64
}

// Payload is the value of an event record.
type Payload struct {
	EventID    string        `json:"eventId"`
	Type       string        `json:"type"`
	OrderID    string        `json:"orderId"`
	Version    int64         `json:"version"`
	Lines      []PayloadLine `json:"lines"`
	PaymentAmt *int64        `json:"paymentAmt"`
}

// PayloadLine is one line of an event.
type PayloadLine struct {
	LineNo    int64  `json:"lineNo"`
	ProductID string `json:"productId"`
	Qty       int64  `json:"qty"`
}

// Probe is a measurement of the harness, with its mark.
type Probe struct {
	Mark
	history.Probe
}

// Fault is one stage of a fault, with its mark.
type Fault struct {
	Mark
	history.Fault
}

// Process is a change in the life of a process, with its mark.
type Process struct {
	Mark
	history.Process
}

// Phase is the start of a part of the run, with its mark.
type Phase struct {
	Mark
	history.Phase
}
