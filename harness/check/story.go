package check

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// Moment is one event of a story.
type Moment struct {
	At     time.Duration // when it was observed, on the history's clock
	Source string        // who: "client-3", "orders", "order-events/2@17", "order->postgres"
	What   string
	Seq    int64 // of the history event; 0 says that events are left out here
}

// storyLength bounds a story: beyond it, what is farthest from the proof is left out. A moment says so.
const storyLength = 40

// Story tells what happened to the subject of an anomaly, in the order of observation: its operations,
// rows, records and messages, and the faults and process exits that stand around them.
func (v *View) Story(a Anomaly) []Moment {
	t := &teller{view: v, proof: make(map[int64]bool, len(a.Events))}
	for _, seq := range a.Events {
		t.proof[seq] = true
	}
	t.about(a.Subject)
	t.collect()
	return t.shorten(a.Events)
}

// teller gathers the moments of one story.
type teller struct {
	view   *View
	proof  map[int64]bool
	orders map[string]bool
	events map[string]bool
	skus   map[string]bool
	others map[string]bool // keys, reservations, partitions
	tokens map[symbol]bool // ids by which messages are found
	told   []Moment
}

// about settles which orders, events and SKUs the story is of.
func (t *teller) about(subject string) {
	t.orders, t.events, t.skus = make(map[string]bool), make(map[string]bool), make(map[string]bool)
	t.others, t.tokens = make(map[string]bool), make(map[symbol]bool)
	kind, name, named := strings.Cut(subject, " ")
	switch {
	case !named:
		t.others[subject] = true
	case kind == "order":
		t.orders[name] = true
	case kind == "sku":
		t.skus[name] = true
	case kind == "event":
		t.events[name] = true
		if event := t.view.events[name]; event != nil && event.Order != "" {
			t.orders[event.Order] = true
		}
	case kind == "reservation":
		t.others[name] = true
		if reservation := t.view.reservations[name]; reservation != nil && reservation.Order != "" {
			t.orders[reservation.Order] = true
		}
	case kind == "key":
		t.others[name] = true
		for _, order := range t.view.ordersByKey()[name] {
			t.orders[order.ID] = true
		}
		for _, id := range t.view.reservationsByKey()[name] {
			t.others[id] = true
		}
	}
	for id := range t.orders {
		if order := t.view.orders[id]; order != nil {
			if order.Key != "" {
				t.others[order.Key] = true
			}
			for _, event := range order.Events {
				t.events[event.ID] = true
			}
			for _, op := range order.Ops {
				if op.Key != "" {
					t.others[op.Key] = true
				}
			}
		}
	}
	for id := range t.events {
		t.tokens[t.view.symbols.known(id)] = true
	}
	for id := range t.orders {
		t.tokens[t.view.symbols.known(id)] = true
	}
	delete(t.tokens, 0)
}

// tell adds a moment that belongs to the subject, or that proves the anomaly.
func (t *teller) tell(mark Mark, belongs bool, source func() string, what func() string) {
	if mark.Seq != 0 && (belongs || t.proof[mark.Seq]) {
		t.told = append(t.told, Moment{At: mark.At, Source: source(), What: what(), Seq: mark.Seq})
	}
}

func named(name string) func() string { return func() string { return name } }

func said(format string, values ...any) func() string {
	return func() string { return fmt.Sprintf(format, values...) }
}

func (t *teller) collect() {
	t.operations()
	t.rows()
	t.handling()
	t.records()
	t.messages()
	for _, fault := range t.view.Faults {
		t.tell(fault.Mark, true, named(fault.Target), func() string {
			return strings.TrimSpace(fmt.Sprintf("fault %s %s %s%s", fault.Name, fault.Stage, fault.Evidence, fault.Error))
		})
	}
	for _, process := range t.view.Processes {
		t.tell(process.Mark, true, named(process.Name), func() string {
			if process.State == history.Exited {
				return strings.TrimSpace(fmt.Sprintf("process %d exited with code %d %s", process.PID, process.Code, process.Signal))
			}
			return fmt.Sprintf("process %d %s", process.PID, process.State)
		})
	}
	for _, probe := range t.view.Probes {
		t.tell(probe.Mark, false, named("probe"), said("%s of %s: %v%s", probe.Name, probe.Subject, probe.Numbers, detail(probe.Detail)))
	}
}

func (t *teller) operations() {
	for _, op := range t.view.Ops {
		belongs := t.orders[op.Order] || t.others[op.Key] || t.others[op.Reservation]
		source := named(op.Client)
		t.tell(op.Invoked, belongs, source, said("%s (attempt %d, key %q) sent", op.Action, op.Attempt, op.Key))
		t.tell(op.Completed, belongs, source, func() string {
			return strings.TrimSpace(fmt.Sprintf("%s answered %s %d %s %s", op.Action, op.Outcome, op.Status, op.State, op.Error))
		})
	}
}

func (t *teller) rows() {
	for _, order := range t.view.Orders {
		belongs := t.orders[order.ID]
		for _, version := range order.Versions {
			t.tell(version.Mark, belongs, named("orders"), said("order %s committed as %v (event %s, LSN %d)", order.ID, version, version.EventID, version.LSN))
		}
		for _, line := range order.Lines {
			t.tell(line.Mark, false, named("orders"), said("line %d of order %s: %d of %s", line.No, order.ID, line.Qty, line.SKU))
		}
	}
	for _, sku := range t.view.SKUs {
		belongs := t.skus[sku.Name]
		for _, row := range sku.Rows {
			t.tell(row.Mark, belongs, named("stock"), said("stock of %s committed as %v (LSN %d)", sku.Name, row.level(), row.LSN))
		}
		for _, rewrite := range sku.Rewrites {
			t.tell(rewrite.Mark, belongs, named("stock"), said("ledger entry %s: %s (LSN %d)", rewrite.EntryID, rewrite.Action, rewrite.LSN))
		}
	}
	for _, entry := range t.view.Entries {
		belongs := t.orders[entry.Order] || t.skus[entry.SKU] || t.others[entry.Reservation]
		t.tell(entry.Mark, belongs, named("stock"), func() string {
			owner := ""
			if entry.Order != "" {
				owner = " for order " + entry.Order
			}
			return fmt.Sprintf("ledger %s %d of %s%s%s, LSN %d", entry.Op, entry.Qty, entry.SKU, owner, because(entry), entry.LSN)
		})
	}
	for _, payment := range t.view.Payments {
		belongs := t.orders[payment.Order]
		for _, version := range payment.Versions {
			t.tell(version.Mark, belongs, named("payments"), said("payment of order %s committed as %v (LSN %d)", payment.Order, version, version.LSN))
		}
		for _, entry := range payment.Entries {
			t.tell(entry.Mark, belongs, named("payments"), said("ledger %s %d for order %s%s, LSN %d", entry.Op, entry.Amount, payment.Order, causedBy(entry), entry.LSN))
		}
		for _, rewrite := range payment.Rewrites {
			t.tell(rewrite.Mark, belongs, named("payments"), said("payment ledger entry %s: %s (LSN %d)", rewrite.EntryID, rewrite.Action, rewrite.LSN))
		}
	}
	for _, reservation := range t.view.Reservations {
		belongs := t.others[reservation.ID] || t.orders[reservation.Order]
		for _, version := range reservation.Versions {
			t.tell(version.Mark, belongs, named("stock"), said("reservation %s is %s (LSN %d)", reservation.ID, version.Status, version.LSN))
		}
	}
}

func (t *teller) handling() {
	for _, row := range t.view.Inbox {
		t.tell(row.Mark, t.events[row.EventID], named(row.Consumer),
			said("event %s of %s/%d@%d is %s (LSN %d)", row.EventID, row.Topic, row.Partition, row.Offset, row.Outcome, row.LSN))
	}
	for _, row := range t.view.Outbox {
		belongs := t.events[row.EventID]
		t.tell(row.Mark, belongs, named(row.Database), said("outbox row %s: event %s for %s (LSN %d)", row.ID, row.EventID, row.Topic, row.LSN))
		t.tell(row.Published.Mark, belongs, named(row.Database), said("outbox row %s marked published (LSN %d)", row.ID, row.Published.LSN))
	}
}

func (t *teller) records() {
	for _, partition := range t.view.Partitions {
		for _, record := range partition.Records {
			t.tell(record.Mark, t.events[record.EventID], func() string { return record.Position().String() }, record.told)
		}
		for _, record := range partition.cut {
			t.tell(record.Mark, t.events[record.EventID], func() string { return record.Position().String() }, record.told)
		}
		for _, c := range partition.conflicts {
			t.tell(c.second.Mark, t.others[partition.String()], func() string { return c.second.Position().String() }, c.second.told)
		}
	}
}

// told says what a record is.
func (r *Record) told() string {
	what := "record of key " + r.Key
	if r.Payload != nil {
		what = fmt.Sprintf("%s version %d of order %s", r.Payload.Type, r.Payload.Version, r.Payload.OrderID)
	}
	if r.EventID != "" {
		what += ", event " + r.EventID
	}
	if r.Aborted {
		what += ", aborted"
	}
	if r.Injected {
		what += ", written by the harness"
	}
	if r.Cut {
		what += ", not in the log at the end"
	}
	return what
}

func (t *teller) messages() {
	v := t.view
	for i := range v.commits {
		c := &v.commits[i]
		link := func() string { return v.symbols.name(c.link) }
		belongs := t.carries(c.tokens)
		t.tell(c.sent(), belongs, link, named("COMMIT goes to the server"))
		t.tell(c.answered, belongs, link, func() string {
			if c.undone {
				return "COMMIT is answered by a rollback"
			}
			return "COMMIT is answered"
		})
	}
	for i := range v.produces {
		p := &v.produces[i]
		t.tell(p.reached, t.carries(p.tokens), func() string { return v.symbols.name(p.link) }, named("Produce reaches the tap"))
	}
	for i := range v.acks {
		a := &v.acks[i]
		t.tell(a.Mark, t.carries(a.tokens), func() string { return v.symbols.name(a.link) }, said("the broker acknowledges %v", a.at))
	}
	for i := range v.holds {
		h := &v.holds[i]
		t.tell(h.Mark, t.carries(h.tokens), func() string { return v.symbols.name(h.link) }, func() string {
			return fmt.Sprintf("%s %s %s by the tap", v.symbols.name(h.kind), v.symbols.name(h.direction), v.symbols.name(h.step))
		})
	}
}

func (t *teller) carries(s span) bool {
	if len(t.tokens) == 0 {
		return false
	}
	return slices.ContainsFunc(t.view.carried(s), func(token symbol) bool { return t.tokens[token] })
}

// shorten keeps the proof, then what is nearest to it, and says where something is left out.
func (t *teller) shorten(events []int64) []Moment {
	bySeq := func(a, b Moment) int { return cmp.Compare(a.Seq, b.Seq) }
	slices.SortStableFunc(t.told, bySeq)
	all := slices.CompactFunc(t.told, func(a, b Moment) bool { return a.Seq == b.Seq })
	if len(all) <= storyLength {
		return all
	}
	distance := func(m Moment) int64 {
		nearest := int64(math.MaxInt64)
		for _, seq := range events {
			nearest = min(nearest, max(m.Seq-seq, seq-m.Seq))
		}
		return nearest
	}
	kept := slices.Clone(all)
	slices.SortStableFunc(kept, func(a, b Moment) int { return cmp.Compare(distance(a), distance(b)) })
	kept = kept[:storyLength]
	slices.SortFunc(kept, bySeq)
	return withGaps(all, kept)
}

// withGaps is kept, with a moment in place of each run of moments of all that it lacks. Both are sorted.
func withGaps(all, kept []Moment) []Moment {
	var told, missing []Moment
	leaveOut := func(which string) {
		if len(missing) > 0 {
			what := "… " + plural(len(missing), which+"event", which+"events") + " left out"
			told = append(told, Moment{At: missing[0].At, What: what})
			missing = nil
		}
	}
	for _, m := range all {
		if len(kept) == 0 || m.Seq != kept[0].Seq {
			missing = append(missing, m)
			continue
		}
		if len(told) == 0 {
			leaveOut("earlier ")
		}
		leaveOut("")
		told, kept = append(told, m), kept[1:]
	}
	leaveOut("later ")
	return told
}
