// Package history owns the record of one experiment: its event types, the JSONL file they are
// saved in, and the recorder that orders them.
package history

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"
)

// Schema is the version of the file format. A reader refuses a file whose header names another one.
const Schema = 1

// Header is the first line of a history file. It holds all that judging needs and no event says.
type Header struct {
	Schema    int               `json:"ordeal_history"`
	Scenario  string            `json:"scenario"`
	Design    string            `json:"design"`
	Without   []string          `json:"without,omitempty"` // guards removed
	Seed      uint64            `json:"seed"`
	Backend   string            `json:"backend"`
	Versions  map[string]string `json:"versions,omitempty"` // what ran: "postgres": "17.5", "broker": "kfake …"
	Started   time.Time         `json:"started"`            // wall clock, for people only
	Exercises []string          `json:"exercises"`          // guarantees that must have examined something
	// Guarantees are the names of those that the run was judged by, in order.
	Guarantees []string `json:"guarantees,omitempty"`
	// Faults are those planned, "latency on order->postgres": each must have been injected and have bitten.
	Faults   []string  `json:"faults,omitempty"`
	Services []Service `json:"services,omitempty"`
	Repeat   string    `json:"repeat,omitempty"` // the one command that runs this again
}

// Service says which database, consumer group and topics belong to one service.
type Service struct {
	Name     string   `json:"name"`               // "order"
	Database string   `json:"database,omitempty"` // as in Row.Database
	Group    string   `json:"group,omitempty"`    // consumer group
	Consumes []string `json:"consumes,omitempty"` // topics
	Produces []string `json:"produces,omitempty"`
}

// Event is one line of a history. Exactly one of the pointers is set. Seq orders all events of one
// run: it is assigned under one lock in the observing process, so for two events of the wire a lower
// Seq happened before. Rows are ordered by LSN and records by offset, never by Seq or At.
type Event struct {
	Seq     int64         `json:"seq"`
	At      time.Duration `json:"at"` // nanoseconds since the recorder started, monotonic
	Op      *Op           `json:"op,omitempty"`
	Row     *Row          `json:"row,omitempty"`
	Record  *Record       `json:"record,omitempty"`
	Fault   *Fault        `json:"fault,omitempty"`
	Process *Process      `json:"process,omitempty"`
	Wire    *Wire         `json:"wire,omitempty"`
	Probe   *Probe        `json:"probe,omitempty"`
	Phase   *Phase        `json:"phase,omitempty"`
}

// Outcomes of an operation, in Jepsen's words: an info may or may not have taken effect, now or later.
const (
	Invoke = "invoke"
	OK     = "ok"
	Fail   = "fail" // provably without effect
	Info   = "info"
)

// Actions of the workload.
const (
	Place        = "place"         // POST /api/v1/orders
	Cancel       = "cancel"        // DELETE /api/v1/orders/{id}
	ReadOrder    = "read-order"    // GET /api/v1/orders/{id}
	ReadStock    = "read-stock"    // GET /api/v1/stocks/{productId}
	Reserve      = "reserve"       // POST /api/v1/stocks (TCC try)
	ConfirmStock = "confirm-stock" // PUT /api/v1/stocks/{reservationId}
	ReleaseStock = "release-stock" // DELETE /api/v1/stocks/{reservationId}
)

// Op is one attempt of a client, as its invocation or its completion; the two share ID. Retries of
// one intent are separate ops with the same Key.
type Op struct {
	ID          int64  `json:"id"`
	Type        string `json:"type"` // Invoke, OK, Fail or Info
	Client      string `json:"client"`
	Action      string `json:"action"`
	Link        string `json:"link,omitempty"`
	Key         string `json:"key,omitempty"`         // idempotency key
	Attempt     int    `json:"attempt,omitempty"`     // from 1
	Order       string `json:"order,omitempty"`       // sent by the client, or learnt from the answer
	Reservation string `json:"reservation,omitempty"` // likewise
	Lines       []Line `json:"lines,omitempty"`
	Status      int    `json:"status,omitempty"` // HTTP status of the answer, 0 when there was none
	State       string `json:"state,omitempty"`  // order or reservation status in the answer
	Error       string `json:"error,omitempty"`
}

// Line is one line of an order: Qty units of one SKU.
type Line struct {
	SKU string `json:"sku"`
	Qty int64  `json:"qty"`
}

// Row is one committed row change, from the write-ahead log. Rows of one database come in commit
// order; LSN is the end of the commit record, shared by all rows of one transaction.
type Row struct {
	Database string  `json:"database"`
	Table    string  `json:"table"`
	LSN      uint64  `json:"lsn"`
	Xid      uint32  `json:"xid"`
	Action   string  `json:"action"` // insert, update, delete, truncate
	Before   Columns `json:"before,omitempty"`
	After    Columns `json:"after,omitempty"`
}

// Columns are the values of a row in Postgres text format, by column name. A NULL is absent.
type Columns map[string]string

// Record is one Kafka record as read from its log. Offsets order the records of a partition.
type Record struct {
	Topic     string            `json:"topic"`
	Partition int32             `json:"partition"`
	Offset    int64             `json:"offset"`
	Key       Bytes             `json:"key,omitempty"`
	Headers   map[string]string `json:"headers,omitempty"`
	Value     Bytes             `json:"value,omitempty"`
	Aborted   bool              `json:"aborted,omitempty"` // invisible to read_committed
	// Injected marks a record that the harness wrote itself (a duplicate, a poison record).
	Injected bool `json:"injected,omitempty"`
}

// Bytes are written to JSON as a string where they are UTF-8, else as {"base64": "…"}.
type Bytes []byte

// MarshalJSON implements [json.Marshaler].
func (b Bytes) MarshalJSON() ([]byte, error) {
	if utf8.Valid(b) {
		return json.Marshal(string(b))
	}
	return json.Marshal(map[string]string{"base64": base64.StdEncoding.EncodeToString(b)})
}

// UnmarshalJSON implements [json.Unmarshaler].
func (b *Bytes) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		var s string
		if err := json.Unmarshal(data, &s); err != nil {
			return err
		}
		*b = Bytes(s)
		return nil
	}
	var wrapped struct {
		Base64 []byte `json:"base64"`
	}
	if err := json.Unmarshal(data, &wrapped); err != nil {
		return fmt.Errorf("decode bytes: %w", err)
	}
	*b = wrapped.Base64
	return nil
}

// Stages of a fault.
const (
	Injected = "injected"
	Healed   = "healed"
	Observed = "observed" // the evidence, once per fault, after its window
)

// Fault is one stage in the life of one injected fault; the stages share ID.
type Fault struct {
	ID     int    `json:"id"`
	Name   string `json:"name"`   // "latency"
	Target string `json:"target"` // link, process, topic: "order->postgres"
	Stage  string `json:"stage"`
	// Bit says that an effect was measured. Only in stage Observed.
	Bit bool `json:"bit,omitempty"`
	// Evidence says what was measured, in words with figures. Only in stage Observed.
	Evidence string `json:"evidence,omitempty"`
	Error    string `json:"error,omitempty"`
}

// States of a process.
const (
	Started = "started"
	Ready   = "ready"
	Exited  = "exited"
	Paused  = "paused"
	Resumed = "resumed"
)

// Process is a change in the life of one process of the stack.
type Process struct {
	Name   string `json:"name"` // "stock-2", "postgres", "kafka-1"
	PID    int    `json:"pid"`
	State  string `json:"state"`
	Signal string `json:"signal,omitempty"` // the signal that ended it: "killed"
	Code   int    `json:"code,omitempty"`   // exit code
	// Unasked marks an exit that the harness did not ask for: the process ended by itself.
	Unasked bool `json:"unasked,omitempty"`
}

// Directions of a message on a link.
const (
	Request  = "request"  // from the client towards the server
	Response = "response" // from the server towards the client
)

// Wire is one message that crossed a tap and that judging or explaining needs: commits, produces,
// HTTP calls, holds. A request is recorded when it reached the tap, with Kind; its forwarding is a
// second event with Forwarded set. Tokens are the ids that the message carried: for a commit, every
// short parameter that its transaction sent; for a produce, record keys and header values.
type Wire struct {
	Link      string   `json:"link"`
	Conn      int64    `json:"conn"` // numbers the connections of one link
	Msg       int64    `json:"msg"`  // numbers the messages of one connection and direction
	Direction string   `json:"direction"`
	Kind      string   `json:"kind"` // "COMMIT", "Produce", "POST /api/v1/orders"
	Forwarded bool     `json:"forwarded,omitempty"`
	Held      string   `json:"held,omitempty"` // "held", "forwarded", "undeliverable", "dropped"
	Status    string   `json:"status,omitempty"`
	Tokens    []string `json:"tokens,omitempty"`
	// Records are the Kafka records carried, as "topic/partition@offset": of a Fetch response those
	// delivered, of a Produce response the first offset of each batch.
	Records []string `json:"records,omitempty"`
	// Began is when the transaction of a COMMIT began, on the history's clock.
	Began time.Duration `json:"began,omitempty"`
	Size  int           `json:"size,omitempty"`
}

// Names of probes that judging reads. Subject says of what, OK the answer, Numbers the figures.
const (
	// ProbeTopic: one partition after the drain. Subject "topic/partition"; numbers "start" (first
	// offset), "high" (high watermark), "tapped" (data records seen), "aborted".
	ProbeTopic = "topic"
	// ProbeGroup: a group's committed offset. Subject "group/topic/partition"; numbers "committed"
	// (-1 for none), "end".
	ProbeGroup = "group"
	// ProbeTable: OK when the fold of the recorded rows equals a SELECT. Subject "database.table".
	ProbeTable = "table"
	// ProbeTap: OK when a tap saw all there was to see. Subject "wal/orders", "topics".
	ProbeTap = "tap"
	// ProbeBypass: OK when every peer that a server accepted is a link's or an observer's. Subject: the server.
	ProbeBypass = "bypass"
	// ProbeQuiescent: how the drain ended. OK when all work ended. Numbers "idle_ms" (time since the last
	// activity), "deadline_ms", "starved" (1 when the machine was too busy to judge liveness).
	// Detail says what was still open.
	ProbeQuiescent = "quiescent"
	// ProbeHarness: OK is false when the harness could not carry the experiment out; Detail says why.
	ProbeHarness = "harness"
	// ProbeOverlap: transactions that overlapped on the wire. Subject: the SKU; number "overlaps".
	ProbeOverlap = "overlap"
	// ProbeCache: what a cache holds at the end. Subject: the SKU; number "available". OK when there is a count; Detail
	// says what is there instead.
	ProbeCache = "cache"
)

// Probe is a measurement of the harness itself.
type Probe struct {
	Name    string           `json:"name"`
	Subject string           `json:"subject,omitempty"`
	OK      bool             `json:"ok"`
	Numbers map[string]int64 `json:"numbers,omitempty"`
	Detail  string           `json:"detail,omitempty"`
}

// Phases of a run, in order. The baseline is free of faults.
const (
	Baseline = "baseline"
	Faults   = "faults"
	Heal     = "heal"     // every fault is healed from here on; deadlines count from here
	Recovery = "recovery" // fresh orders are placed, each of which must be acknowledged
	Drain    = "drain"
	End      = "end"
)

// Phase marks the start of a part of the run.
type Phase struct {
	Name string `json:"name"`
}
