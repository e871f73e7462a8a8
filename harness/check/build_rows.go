package check

import (
	"fmt"
	"strconv"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// columns reads the values of one row and keeps the first error.
type columns struct {
	values history.Columns
	intern func(string) string
	err    error
}

func (c *columns) text(name string) string { return c.intern(c.values[name]) }

// number is the value of an integer column, or otherwise where it is NULL.
func (c *columns) number(name string, otherwise int64) int64 {
	text, ok := c.values[name]
	if !ok {
		return otherwise
	}
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil && c.err == nil {
		c.err = fmt.Errorf("parse column %s: %w", name, err)
	}
	return value
}

func (b *Builder) row(mark Mark, row *history.Row) error {
	b.stamp = Stamp{Mark: mark, LSN: row.LSN, Xid: row.Xid}
	if row.LSN < b.lsn[row.Database] {
		b.view.disorder = append(b.view.disorder,
			fmt.Sprintf("a row of %s.%s has LSN %d, after LSN %d", row.Database, row.Table, row.LSN, b.lsn[row.Database]))
	}
	b.lsn[b.text(row.Database)] = row.LSN
	if row.Action == "truncate" {
		b.view.disorder = append(b.view.disorder, fmt.Sprintf("%s.%s was truncated", row.Database, row.Table))
		return nil
	}
	transaction := b.transaction(row)
	deleted := row.Action == "delete"
	c := &columns{values: row.After, intern: b.text}
	if deleted {
		c.values = row.Before
	}
	switch row.Table {
	case "orders":
		b.orderRow(c, deleted)
	case "order_lines":
		order := b.view.order(c.text("order_id"))
		order.Lines = b.line(order.Lines, c, deleted)
	case "stock":
		b.stockRow(c, deleted)
	case "stock_ledger":
		b.ledgerRow(c, row)
	case "reservations":
		b.reservationRow(c, deleted)
	case "reservation_lines":
		reservation := b.view.reservation(c.text("reservation_id"))
		reservation.Lines = b.line(reservation.Lines, c, deleted)
	case "payments":
		b.paymentRow(c, deleted)
	case "payment_ledger":
		b.paymentEntry(c, row.Action, row.Before)
	case "inbox":
		if !deleted { // a purge of old rows undoes nothing
			transaction.handles(b.inboxRow(row.Database, c))
		}
	case "idempotency_keys":
		if !deleted {
			b.keyRow(c)
		}
	case "outbox":
		b.outboxRow(row.Database, c, deleted)
	}
	if c.err != nil {
		return fmt.Errorf("read row of %s.%s: %w", row.Database, row.Table, c.err)
	}
	return nil
}

func (b *Builder) orderRow(c *columns, deleted bool) {
	order := b.view.order(c.text("order_id"))
	if key := c.text("idempotency_key"); key != "" {
		order.Key = key
	}
	_, order.HasPayment = c.values["payment_amt"]
	order.Payment = c.number("payment_amt", 0)
	order.Versions = append(order.Versions, OrderVersion{
		Stamp: b.stamp, Status: c.text("status"), Version: c.number("version", 0),
		EventID: c.text("event_id"), Deleted: deleted,
	})
}

// line adds, replaces or removes one line by its number.
func (b *Builder) line(lines []OrderLine, c *columns, deleted bool) []OrderLine {
	line := OrderLine{Mark: b.stamp.Mark, No: c.number("line_no", -1), SKU: c.text("product_id"), Qty: c.number("qty", 0)}
	for i := range lines {
		if lines[i].No != line.No {
			continue
		}
		if deleted {
			return append(lines[:i], lines[i+1:]...)
		}
		lines[i] = line
		return lines
	}
	return append(lines, line)
}

func (b *Builder) stockRow(c *columns, deleted bool) {
	sku := b.view.sku(c.text("product_id"))
	row := StockRow{Stamp: b.stamp, Deleted: deleted}
	if !deleted {
		row.Available, row.Reserved, row.Sold = c.number("available", 0), c.number("reserved", 0), c.number("sold", 0)
	}
	sku.Rows = append(sku.Rows, row)
}

func (b *Builder) ledgerRow(c *columns, row *history.Row) {
	if row.Action != "insert" {
		before := &columns{values: row.Before, intern: b.text}
		if row.Before == nil {
			before = c
		}
		// The entry stays as it was first written: the columns are judged by what happened.
		sku := b.view.sku(before.text("product_id"))
		sku.Rewrites = append(sku.Rewrites, Rewrite{b.stamp, before.text("entry_id"), b.text(row.Action)})
		return
	}
	entry := &Entry{
		Stamp: b.stamp, SKU: c.text("product_id"), Op: c.text("op"), Qty: c.number("qty", 0),
		Order: c.text("order_id"), Reservation: c.text("reservation_id"),
		Line: c.number("line_no", -1), EventID: c.text("event_id"),
	}
	v := b.view
	v.Entries = append(v.Entries, entry)
	sku := v.sku(entry.SKU)
	sku.Entries = append(sku.Entries, entry)
	if entry.Order != "" {
		order := v.order(entry.Order)
		order.Entries = append(order.Entries, entry)
	}
	if entry.EventID != "" {
		event := v.event(entry.EventID)
		event.Entries = append(event.Entries, entry)
	}
}

func (b *Builder) reservationRow(c *columns, deleted bool) {
	reservation := b.view.reservation(c.text("reservation_id"))
	reservation.Order = c.text("order_id")
	reservation.Expires = c.values["expires_at"] != ""
	if id := c.text("event_id"); id != "" {
		reservation.EventID = id
	}
	reservation.Versions = append(reservation.Versions,
		ReservationVersion{Stamp: b.stamp, Status: c.text("status"), Deleted: deleted})
}

// transaction is what the rows of one commit, which come one after the other, have in common.
type transaction struct {
	lsn     uint64
	effects bool // it changed another table than the inbox
	inbox   []*InboxRow
}

func (b *Builder) transaction(row *history.Row) *transaction {
	t := b.open[row.Database]
	if t == nil {
		t = new(transaction)
		b.open[b.text(row.Database)] = t
	}
	if t.lsn != row.LSN {
		*t = transaction{lsn: row.LSN, inbox: t.inbox[:0]}
	}
	if row.Table != "inbox" && !t.effects {
		t.effects = true
		for _, handled := range t.inbox {
			handled.Alone = false
		}
	}
	return t
}

func (t *transaction) handles(row *InboxRow) {
	row.Alone = !t.effects
	t.inbox = append(t.inbox, row)
}

// keyRow takes a row of idempotency_keys, of an order or of a reservation.
func (b *Builder) keyRow(c *columns) {
	row := KeyRow{b.stamp, c.text("idempotency_key")}
	if id := c.text("order_id"); id != "" {
		order := b.view.order(id)
		order.Keys = append(order.Keys, row)
	}
	if id := c.text("reservation_id"); id != "" {
		reservation := b.view.reservation(id)
		reservation.Keys = append(reservation.Keys, row)
	}
}

func (b *Builder) inboxRow(database string, c *columns) *InboxRow {
	row := &InboxRow{
		Stamp: b.stamp, Database: b.text(database), Consumer: c.text("consumer"), EventID: c.text("event_id"),
		Outcome: c.text("outcome"), Topic: c.text("topic"),
		Partition: int32(c.number("partition", -1)), Offset: c.number("record_offset", -1),
	}
	b.view.Inbox = append(b.view.Inbox, row)
	event := b.view.event(row.EventID)
	event.Inbox = append(event.Inbox, row)
	return row
}

func (b *Builder) outboxRow(database string, c *columns, deleted bool) {
	key := outboxKey{database: b.text(database), id: c.text("id")}
	row := b.outbox[key]
	if row == nil {
		row = &OutboxRow{
			Stamp: b.stamp, Database: key.database, ID: key.id, EventID: c.text("event_id"),
			Topic: c.text("topic"), Key: c.text("key"),
		}
		b.outbox[key] = row
		b.view.Outbox = append(b.view.Outbox, row)
		event := b.view.event(row.EventID)
		event.Outbox = append(event.Outbox, row)
	}
	if row.Published.Seq == 0 && (deleted || c.values["published_at"] != "") {
		row.Published = b.stamp
	}
}
