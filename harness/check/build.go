package check

import (
	"fmt"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// Builder makes a view of a history in one pass.
type Builder struct {
	view    *View
	ops     map[int64]*Op
	intents map[string]*Intent
	lsn     map[string]uint64 // last LSN of each database
	outbox  map[outboxKey]*OutboxRow
	wire    wireBuilder
	stamp   Stamp                   // of the row being added
	open    map[string]*transaction // the last one of each database
}

type partitionKey struct {
	topic  string
	number int32
}

type outboxKey struct{ database, id string }

// NewBuilder returns a builder of an empty view.
func NewBuilder() *Builder {
	return &Builder{
		view: &View{
			symbols:      newSymbols(),
			orders:       make(map[string]*Order),
			skus:         make(map[string]*SKU),
			reservations: make(map[string]*Reservation),
			payments:     make(map[string]*Payment),
			events:       make(map[string]*Event),
			partitions:   make(map[partitionKey]*Partition),
		},
		ops:     make(map[int64]*Op),
		intents: make(map[string]*Intent),
		lsn:     make(map[string]uint64),
		outbox:  make(map[outboxKey]*OutboxRow),
		open:    make(map[string]*transaction),
		wire:    newWireBuilder(),
	}
}

// Add takes the next event. An error names the event and the value that cannot be read.
func (b *Builder) Add(e history.Event) error {
	mark := Mark{Seq: e.Seq, At: e.At}
	switch {
	case e.Op != nil:
		b.op(mark, e.Op)
	case e.Row != nil:
		if err := b.row(mark, e.Row); err != nil {
			return fmt.Errorf("read event %d: %w", e.Seq, err)
		}
	case e.Record != nil:
		b.record(mark, e.Record)
	case e.Wire != nil:
		b.message(mark, e.Wire)
	case e.Probe != nil:
		b.view.Probes = append(b.view.Probes, Probe{mark, *e.Probe})
	case e.Fault != nil:
		b.view.Faults = append(b.view.Faults, Fault{mark, *e.Fault})
	case e.Process != nil:
		b.view.Processes = append(b.view.Processes, Process{mark, *e.Process})
	case e.Phase != nil:
		b.view.Phases = append(b.view.Phases, Phase{mark, *e.Phase})
	}
	return nil
}

// View returns the view of all events added. The builder must not be used afterwards. The caller sets
// its Header.
func (b *Builder) View() *View {
	v := b.view
	v.sortPartitions()
	v.readEnds()
	v.joinEvents()
	b.view = nil
	return v
}

func (b *Builder) text(s string) string { return b.view.symbols.intern(s) }

func (b *Builder) op(mark Mark, op *history.Op) {
	joined := b.ops[op.ID]
	if joined == nil {
		joined = &Op{
			ID: op.ID, Client: b.text(op.Client), Action: b.text(op.Action), Key: b.text(op.Key),
			Attempt: op.Attempt, Invoked: mark, Outcome: history.Info,
		}
		b.ops[op.ID] = joined
		b.view.Ops = append(b.view.Ops, joined)
		b.intend(joined)
	}
	if op.Order != "" {
		joined.Order = b.text(op.Order)
	}
	if op.Reservation != "" {
		joined.Reservation = b.text(op.Reservation)
	}
	if op.Type != history.Invoke {
		joined.Completed, joined.Outcome, joined.Status = mark, b.text(op.Type), op.Status
		joined.State, joined.Error = b.text(op.State), b.text(op.Error)
		delete(b.ops, op.ID)
	}
}

// intend files an attempt under its intent.
func (b *Builder) intend(op *Op) {
	intent := b.intents[op.Key]
	if op.Key == "" || intent == nil {
		intent = &Intent{Key: op.Key}
		b.view.Intents = append(b.view.Intents, intent)
		if op.Key != "" {
			b.intents[op.Key] = intent
		}
	}
	intent.Attempts = append(intent.Attempts, op)
}

func (v *View) order(id string) *Order {
	order := v.orders[id]
	if order == nil {
		order = &Order{ID: id}
		v.orders[id] = order
		v.Orders = append(v.Orders, order)
	}
	return order
}

func (v *View) sku(name string) *SKU {
	sku := v.skus[name]
	if sku == nil {
		sku = &SKU{Name: name}
		v.skus[name] = sku
		v.SKUs = append(v.SKUs, sku)
	}
	return sku
}

func (v *View) reservation(id string) *Reservation {
	reservation := v.reservations[id]
	if reservation == nil {
		reservation = &Reservation{ID: id}
		v.reservations[id] = reservation
		v.Reservations = append(v.Reservations, reservation)
	}
	return reservation
}

func (v *View) event(id string) *Event {
	event := v.events[id]
	if event == nil {
		event = &Event{ID: id}
		v.events[id] = event
		v.Events = append(v.Events, event)
	}
	return event
}

// joinEvents ties what only the whole history tells: who announces an event, and whose it is.
func (v *View) joinEvents() {
	for _, order := range v.Orders {
		for _, version := range order.Versions {
			if version.EventID == "" || version.Deleted {
				continue
			}
			if event := v.event(version.EventID); event.Announces == nil {
				event.Announces = &Announcement{Order: order, Version: version}
				event.Order = order.ID
			}
		}
	}
	for _, reservation := range v.Reservations {
		if reservation.Order != "" {
			order := v.order(reservation.Order)
			order.Reservations = append(order.Reservations, reservation)
		}
		if reservation.EventID == "" {
			continue
		}
		if event := v.event(reservation.EventID); event.Announces == nil {
			event.Announces = &Announcement{Reservation: reservation}
			event.Order = reservation.Order
		}
	}
	v.joinPayments()
	for _, op := range v.Ops {
		if op.Order != "" {
			order := v.order(op.Order)
			order.Ops = append(order.Ops, op)
		}
	}
	for _, event := range v.Events {
		if event.Order != "" {
			order := v.order(event.Order)
			order.Events = append(order.Events, event)
		}
	}
}
