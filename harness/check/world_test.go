package check

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// world acts out the reference system and records what its observers would see. Each method is one
// step, so that a test composes a history in any order, sound or not.
type world struct {
	sink       func(history.Event)
	seq        int64
	lsn        uint64
	op         int64
	serial     int64 // of outbox and ledger rows
	msg        int64 // of all wire messages
	stock      map[string]*level
	offsets    map[string]int64 // next offset of each partition
	partitions int
	elsewhere  int32 // added to the partition of every record
	paid       bool  // there is a payment service
}

// purchase is one order with the ids that its life will need.
type purchase struct {
	id, key     string
	lines       []history.Line
	reservation string
	version     int
}

func buy(n int, lines ...history.Line) *purchase {
	id := fmt.Sprintf("order-%d", n)
	return &purchase{id: id, key: fmt.Sprintf("key-%d", n), lines: lines, reservation: "reservation-of-" + id}
}

// signal is an event on its way: what an outbox row holds and a record says.
type signal struct {
	id, kind, topic string
	version         int
	order           *purchase
	outbox          string // id of its outbox row
	database        string
	dead            *history.Record // of a dead letter: the record that it keeps
	group           string
	at              history.Record // where it was published
}

func newWorld(sink func(history.Event)) *world {
	w := &world{
		sink: sink, lsn: 1000, stock: map[string]*level{}, offsets: map[string]int64{}, partitions: 2,
	}
	for _, name := range []string{"postgres", "kafka-1", "order", "stock"} {
		w.emit(history.Event{Process: &history.Process{Name: name, PID: 100, State: history.Ready}})
	}
	return w
}

func (w *world) emit(e history.Event) {
	w.seq++
	e.Seq, e.At = w.seq, time.Duration(w.seq)*time.Millisecond
	w.sink(e)
}

func (w *world) phase(name string) { w.emit(history.Event{Phase: &history.Phase{Name: name}}) }

// row makes a row change of the transaction that commit will write.
func row(table, action string, columns ...string) *history.Row {
	values := history.Columns{}
	for i := 0; i < len(columns); i += 2 {
		if columns[i+1] != "" {
			values[columns[i]] = columns[i+1]
		}
	}
	r := &history.Row{Table: table, Action: action, After: values}
	if action == "delete" {
		r.Before, r.After = values, nil
	}
	return r
}

// commit is one transaction: its COMMIT crosses the link, and its rows come out of the log.
func (w *world) commit(database, link string, tokens []string, rows ...*history.Row) {
	w.lsn += 100
	w.msg++
	request := history.Wire{Link: link, Conn: 1, Msg: w.msg, Direction: history.Request, Kind: "COMMIT", Forwarded: true, Tokens: tokens}
	w.emit(history.Event{Wire: &request})
	for _, r := range rows {
		r.Database, r.LSN, r.Xid = database, w.lsn, uint32(w.lsn/100)
		w.emit(history.Event{Row: r})
	}
	w.emit(history.Event{Wire: &history.Wire{Link: link, Conn: 1, Msg: w.msg, Direction: history.Response, Kind: "COMMIT", Tokens: tokens}})
	for _, r := range rows {
		if r.Table == "inbox" && r.Action == "insert" {
			w.advance(r)
		}
	}
}

// advance is a consumer that commits its offset past the record that it handled.
func (w *world) advance(handled *history.Row) {
	partition, _ := strconv.ParseInt(handled.After["partition"], 10, 32)
	offset, _ := strconv.ParseInt(handled.After["record_offset"], 10, 64)
	w.msg++
	w.emit(history.Event{Wire: &history.Wire{
		Link: handled.After["consumer"] + "->kafka-1", Conn: 2, Msg: w.msg, Direction: history.Request, Kind: "OffsetCommit",
		Records: []string{Position{handled.After["topic"], int32(partition), offset + 1}.String()},
	}})
}

func (w *world) next() string {
	w.serial++
	return strconv.FormatInt(w.serial, 10)
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

// supply puts a new SKU on the shelf.
func (w *world) supply(sku string, qty int64) {
	w.stock[sku] = &level{available: qty}
	w.commit("stock", "ordeal->postgres", nil,
		row("stock", "insert", "product_id", sku, "available", number(qty), "reserved", "0", "sold", "0", "version", "1"),
		row("stock_ledger", "insert", "entry_id", w.next(), "product_id", sku, "op", LedgerInitial, "qty", number(qty)))
}

// move changes the stock of one line, in the row and in the ledger.
func (w *world) move(op, order, reservation, event string, lineNo int, line history.Line) []*history.Row {
	l := w.stock[line.SKU]
	l.apply(&Entry{Op: op, Qty: line.Qty})
	return []*history.Row{
		row("stock", "update", "product_id", line.SKU, "available", number(l.available), "reserved", number(l.reserved),
			"sold", number(l.sold)),
		row("stock_ledger", "insert", "entry_id", w.next(), "product_id", line.SKU, "op", op, "qty", number(line.Qty),
			"order_id", order, "reservation_id", reservation, "line_no", strconv.Itoa(lineNo), "event_id", event),
	}
}

func (w *world) moveAll(op string, p *purchase, event string) []*history.Row {
	var rows []*history.Row
	for i, line := range p.lines {
		rows = append(rows, w.move(op, p.id, p.reservation, event, i+1, line)...)
	}
	return rows
}

// announce makes a signal and its outbox row.
func (w *world) announce(database, topic, kind string, p *purchase, version int) (*signal, *history.Row) {
	s := &signal{
		id: fmt.Sprintf("%s-of-%s", kind, p.id), kind: kind, topic: topic, version: version, order: p,
		outbox: w.next(), database: database,
	}
	return s, row("outbox", "insert", "id", s.outbox, "event_id", s.id, "topic", topic, "key", p.id)
}

func (p *purchase) row(action, status, event string) *history.Row {
	return row("orders", action, "order_id", p.id, "status", status, "version", strconv.Itoa(p.version),
		"idempotency_key", p.key, "payment_amt", "990", "event_id", event)
}

func (p *purchase) line(i int) *history.Row {
	return row("order_lines", "insert", "order_id", p.id, "line_no", strconv.Itoa(i+1), "product_id", p.lines[i].SKU, "qty", number(p.lines[i].Qty))
}

func (w *world) invoke(action string, p *purchase, attempt int) *history.Op {
	w.op++
	op := &history.Op{ID: w.op, Type: history.Invoke, Client: "client-1", Action: action, Key: p.key, Attempt: attempt, Lines: p.lines}
	if action == history.Cancel {
		op.Order, op.Key = p.id, ""
	}
	w.emit(history.Event{Op: op})
	return op
}

func (w *world) answer(invoked *history.Op, outcome string, status int, state string, p *purchase) {
	op := *invoked
	op.Type, op.Status, op.State, op.Lines = outcome, status, state, nil
	if outcome == history.OK {
		op.Order = p.id
	}
	w.emit(history.Event{Op: &op})
}

// place is a client's order, answered.
func (w *world) place(p *purchase) *signal {
	op := w.invoke(history.Place, p, 1)
	w.post(history.Request, "", p.key)
	placed := w.insert(p)
	w.post(history.Response, "201", p.id)
	w.answer(op, history.OK, 201, Pending, p)
	return placed
}

func (w *world) post(direction, status string, tokens ...string) {
	w.msg++
	w.emit(history.Event{Wire: &history.Wire{
		Link: "client->order", Conn: 1, Msg: w.msg, Direction: direction, Kind: placeKind, Status: status, Tokens: tokens,
	}})
}

// insert is the transaction that places an order.
func (w *world) insert(p *purchase) *signal {
	p.version = 1
	placed, outbox := w.announce("orders", orderTopic, "OrderPlaced", p, 1)
	rows := []*history.Row{p.row("insert", Pending, placed.id)}
	for i := range p.lines {
		rows = append(rows, p.line(i))
	}
	rows = append(rows, row("idempotency_keys", "insert", "idempotency_key", p.key, "order_id", p.id), outbox)
	w.commit("orders", "order->postgres", []string{p.id, p.key, placed.id}, rows...)
	return placed
}

// publish is the relay: it produces the record and marks the outbox row.
func (w *world) publish(s *signal) {
	w.produce(s)
	w.commit(s.database, s.service()+"->postgres", []string{s.outbox},
		row("outbox", "update", "id", s.outbox, "event_id", s.id, "topic", s.topic, "key", s.order.id, "published_at", "2026-01-01 00:00:00"))
}

func (s *signal) service() string {
	return map[string]string{"orders": "order", "stock": "stock", "payments": "payment"}[s.database]
}

// produce puts the record into the log, through the link of its service.
func (w *world) produce(s *signal) {
	record := w.record(s)
	w.msg++
	tokens := append([]string{string(record.Key)}, slices.Sorted(maps.Values(record.Headers))...)
	link := s.service() + "->kafka-1"
	w.emit(history.Event{Wire: &history.Wire{Link: link, Conn: 1, Msg: w.msg, Direction: history.Request, Kind: "Produce", Tokens: tokens}})
	w.append(record)
	s.at = *record
	w.emit(history.Event{Wire: &history.Wire{
		Link: link, Conn: 1, Msg: w.msg, Direction: history.Response, Kind: "Produce", Tokens: tokens,
		Records: []string{Position{record.Topic, record.Partition, record.Offset}.String()},
	}})
}

// append gives a record its offset and shows it to the tap.
func (w *world) append(record *history.Record) {
	partition := fmt.Sprintf("%s/%d", record.Topic, record.Partition)
	record.Offset = w.offsets[partition]
	w.offsets[partition]++
	w.emit(history.Event{Record: record})
}

func (w *world) record(s *signal) *history.Record {
	if s.dead != nil {
		letter := &history.Record{Topic: s.topic, Partition: s.dead.Partition, Key: s.dead.Key, Value: s.dead.Value, Headers: maps.Clone(s.dead.Headers)}
		if letter.Headers == nil {
			letter.Headers = map[string]string{}
		}
		letter.Headers[headerOriginalTopic] = s.dead.Topic
		letter.Headers[headerOriginalPartition] = strconv.Itoa(int(s.dead.Partition))
		letter.Headers[headerOriginalOffset] = number(s.dead.Offset)
		letter.Headers[headerConsumer] = s.group
		letter.Headers["dlt-error"] = "gave up"
		return letter
	}
	payment := int64(990)
	payload := Payload{EventID: s.id, Type: s.kind, OrderID: s.order.id, Version: int64(s.version), PaymentAmt: &payment}
	for i, line := range s.order.lines {
		payload.Lines = append(payload.Lines, PayloadLine{LineNo: int64(i + 1), ProductID: line.SKU, Qty: line.Qty})
	}
	value, err := json.Marshal(payload)
	if err != nil {
		panic(err)
	}
	sum := 0
	for _, c := range s.order.id {
		sum += int(c)
	}
	return &history.Record{
		Topic: s.topic, Partition: int32(sum%w.partitions) + w.elsewhere, Key: history.Bytes(s.order.id), Value: value,
		Headers: map[string]string{headerEventID: s.id, headerEventType: s.kind},
	}
}

// receipt is the inbox row of a consumed record.
func receipt(group string, s *signal, outcome string) *history.Row {
	return row("inbox", "insert", "consumer", group, "event_id", s.id, "outcome", outcome,
		"topic", s.at.Topic, "partition", strconv.Itoa(int(s.at.Partition)), "record_offset", number(s.at.Offset))
}

// reserve is the stock service taking what an order asks for.
func (w *world) reserve(placed *signal) *signal {
	p := placed.order
	reserved, outbox := w.announce("stock", stockTopic, "StockReserved", p, 1)
	rows := append([]*history.Row{receipt("stock", placed, Applied)}, w.moveAll(LedgerReserve, p, placed.id)...)
	rows = append(rows, p.reserved("insert", ReservationReserved, reserved.id))
	for i, line := range p.lines {
		rows = append(rows, row("reservation_lines", "insert", "reservation_id", p.reservation, "line_no", strconv.Itoa(i+1), "product_id", line.SKU, "qty", number(line.Qty)))
	}
	w.commit("stock", "stock->postgres", []string{placed.id, p.id, reserved.id}, append(rows, outbox)...)
	return reserved
}

func (p *purchase) reserved(action, status, event string) *history.Row {
	return row("reservations", action, "reservation_id", p.reservation, "order_id", p.id, "status", status, "event_id", event)
}

func (w *world) reject(placed *signal) *signal {
	p := placed.order
	rejected, outbox := w.announce("stock", stockTopic, "StockRejected", p, 1)
	w.commit("stock", "stock->postgres", []string{placed.id, p.id, rejected.id},
		receipt("stock", placed, Applied), p.reserved("insert", ReservationRejected, rejected.id), outbox)
	return rejected
}

// decide ends an order, on the answer of stock or, with nil, by itself.
func (w *world) decide(p *purchase, status string, answer *signal) *signal {
	kind := map[string]string{Confirmed: "OrderConfirmed", Cancelled: "OrderCancelled"}[status]
	p.version++
	decided, outbox := w.announce("orders", orderTopic, kind, p, p.version)
	rows := []*history.Row{p.row("update", status, decided.id), outbox}
	tokens := []string{p.id, decided.id}
	if answer != nil {
		rows = append(rows, receipt("order", answer, Applied))
		tokens = append(tokens, answer.id)
	}
	w.commit("orders", "order->postgres", tokens, rows...)
	return decided
}

// settle ends an order's reservation: sell or release.
func (w *world) settle(decided *signal, op string) {
	p := decided.order
	status := map[string]string{LedgerSell: ReservationConfirmed, LedgerRelease: ReservationReleased}[op]
	rows := append([]*history.Row{receipt("stock", decided, Applied)}, w.moveAll(op, p, decided.id)...)
	rows = append(rows, p.reserved("update", status, "StockReserved-of-"+p.id))
	w.commit("stock", "stock->postgres", []string{decided.id, p.id}, rows...)
}

var databaseOf = map[string]string{"order": "orders", "stock": "stock", "payment": "payments"}

// ignore is a consumer that has nothing to do.
func (w *world) ignore(group string, s *signal) {
	w.commit(databaseOf[group], group+"->postgres", []string{s.id}, receipt(group, s, Ignored))
}

// giveUp is a consumer that dead-letters a record.
func (w *world) giveUp(group string, s *signal) *signal {
	database := databaseOf[group]
	record := s.at
	letter := &signal{
		id: s.id, topic: deadLetterPrefix + record.Topic, order: s.order, outbox: w.next(),
		database: database, dead: &record, group: group,
	}
	w.commit(database, group+"->postgres", []string{s.id}, receipt(group, s, DeadLettered),
		row("outbox", "insert", "id", letter.outbox, "event_id", letter.id, "topic", letter.topic, "key", s.order.id))
	return letter
}

// retry is a record set aside in the retry topic.
func (w *world) retry(kept *history.Record) *history.Record {
	headers := map[string]string{
		headerOriginalTopic: kept.Topic, headerOriginalPartition: strconv.Itoa(int(kept.Partition)), headerOriginalOffset: number(kept.Offset),
	}
	maps.Copy(headers, kept.Headers)
	return &history.Record{Topic: retryPrefix + kept.Topic, Partition: kept.Partition, Key: kept.Key, Value: kept.Value, Headers: headers}
}

// replay is a consumer that applies what it gave up, from the dead letter: its inbox row says so.
func (w *world) replay(group string, s *signal) *history.Row {
	replayed := receipt(group, s, Replayed)
	replayed.Action = "update"
	return replayed
}

// fault is a fault that bit, around whatever during does.
func (w *world) fault(id int, during func()) {
	stage := func(stage string, bit bool, evidence string) {
		w.emit(history.Event{Fault: &history.Fault{ID: id, Name: "down", Target: "order->kafka-1", Stage: stage, Bit: bit, Evidence: evidence}})
	}
	stage(history.Injected, false, "")
	during()
	stage(history.Healed, false, "")
	stage(history.Observed, true, "17 connections reset")
}

// finish is a drain that came to rest, and the proofs that all was seen.
func (w *world) finish() {
	w.phase(history.Drain)
	probe := func(p history.Probe) { w.emit(history.Event{Probe: &p}) }
	probe(history.Probe{Name: history.ProbeQuiescent, OK: true, Detail: "quiescent", Numbers: map[string]int64{"idle_ms": 120, "deadline_ms": 20000, "starved": 0}})
	tables, taps := []string{"orders.orders", "orders.outbox", "stock.stock", "stock.stock_ledger"}, []string{"wal/orders", "wal/stock", "topics"}
	groups := map[string][]string{orderTopic: {"stock"}, stockTopic: {"order"}, retryPrefix + orderTopic: {"stock"}}
	if w.paid {
		tables, taps = append(tables, "payments.payments", "payments.payment_ledger"), append(taps, "wal/payments")
		groups = map[string][]string{orderTopic: {"stock", "payment"}, stockTopic: {"order", "payment"}, paymentTopic: {"order"}}
	}
	for _, table := range tables {
		probe(history.Probe{Name: history.ProbeTable, Subject: table, OK: true})
	}
	for _, tap := range taps {
		probe(history.Probe{Name: history.ProbeTap, Subject: tap, OK: true})
	}
	for _, partition := range slices.Sorted(maps.Keys(w.offsets)) {
		end := w.offsets[partition]
		probe(history.Probe{Name: history.ProbeTopic, Subject: partition, OK: true, Numbers: map[string]int64{"high": end}})
		for _, group := range groups[partition[:strings.IndexByte(partition, '/')]] {
			probe(history.Probe{Name: history.ProbeGroup, Subject: group + "/" + partition, OK: true, Numbers: map[string]int64{"committed": end, "end": end}})
		}
	}
	probe(history.Probe{Name: history.ProbeBypass, Subject: "postgres", OK: true})
	probe(history.Probe{Name: history.ProbeOverlap, Subject: "sku-1", OK: true, Numbers: map[string]int64{"overlaps": 3}})
	w.phase(history.End)
}

// standard are the guarantees that every world is judged by.
func standard() []Guarantee { return slices.Concat(OrderAndStock, Payments) }
