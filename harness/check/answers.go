package check

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

var answersHold = Guarantee{
	ID: "I16", Name: "answers-hold",
	Statement: "What failed for certain had no effect, however often it was asked for, one idempotency key makes one order or reservation, and answers show committed states only.",
	Check:     checkAnswers,
}

func checkAnswers(v *View) (f Finding) {
	made, reserved := v.ordersByKey(), v.reservationsByKey()
	for _, intent := range v.Intents {
		if intent.Attempts[0].Action == history.Reserve && intent.Key != "" {
			f.Examined++
			if ids := reserved[intent.Key]; len(ids) > 1 {
				f.Anomalies = append(f.Anomalies, v.duplicateReservation(intent, ids))
			}
		}
		if intent.Attempts[0].Action != history.Place {
			continue
		}
		f.Examined++
		orders := made[intent.Key]
		if intent.Key == "" {
			orders = nil
		}
		if len(orders) > 1 {
			f.Anomalies = append(f.Anomalies, duplicateOrder(intent, orders))
		}
		if intent.failed() {
			if order := v.madeAnyway(intent, orders); order != nil {
				f.Anomalies = append(f.Anomalies, effectAfterFailure(intent, "order "+order.ID, order.Versions[0].Mark))
			}
		}
	}
	for _, intent := range v.Intents {
		if reservation := v.reservedAnyway(intent); reservation != nil {
			f.Anomalies = append(f.Anomalies, effectAfterFailure(intent, "reservation "+reservation.ID, reservation.Versions[0].Mark))
		}
	}
	v.checkSettlements(&f)
	v.checkShown(&f)
	return f
}

func duplicateOrder(intent *Intent, orders []*Order) Anomaly {
	var ids []string
	var events []int64
	for _, order := range orders {
		ids = append(ids, order.ID)
		events = append(events, order.Versions[0].Seq)
	}
	for _, op := range intent.Attempts {
		events = append(events, op.Invoked.Seq, op.Completed.Seq)
	}
	return Anomaly{
		Name: DuplicateOrder, Subject: "key " + intent.Key,
		Detail: fmt.Sprintf("%s with one key made %d orders: %s", plural(len(intent.Attempts), "attempt", "attempts"), len(orders), strings.Join(ids, ", ")),
		Events: events,
	}
}

// failed says whether every attempt failed for certain.
func (i *Intent) failed() bool {
	return !slices.ContainsFunc(i.Attempts, func(op *Op) bool { return op.Outcome != history.Fail })
}

// madeAnyway returns an order that a failed intent made. An order id that the client chose proves it
// only if no other request may have made that order.
func (v *View) madeAnyway(intent *Intent, byKey []*Order) *Order {
	if len(byKey) > 0 {
		return byKey[0]
	}
	for _, op := range intent.Attempts {
		order := v.orders[op.Order]
		if op.Order == "" || order == nil || len(order.Versions) == 0 || order.Key != intent.Key && order.Key != "" {
			continue
		}
		other := func(op *Op) bool { return op.Action == history.Place && op.Outcome != history.Fail }
		if !slices.ContainsFunc(order.Ops, other) {
			return order
		}
	}
	return nil
}

// reservedAnyway returns a reservation that held stock although every request for it failed.
func (v *View) reservedAnyway(intent *Intent) *Reservation {
	if intent.Attempts[0].Action != history.Reserve || !intent.failed() {
		return nil
	}
	for _, op := range intent.Attempts {
		reservation := v.reservations[op.Reservation]
		if op.Reservation == "" || reservation == nil {
			continue
		}
		for _, version := range reservation.Versions {
			if version.Status == ReservationReserved {
				return reservation
			}
		}
	}
	return nil
}

func effectAfterFailure(intent *Intent, subject string, made Mark) Anomaly {
	last := intent.Attempts[len(intent.Attempts)-1]
	events := []int64{made.Seq}
	for _, op := range intent.Attempts {
		events = append(events, op.Invoked.Seq, op.Completed.Seq)
	}
	return Anomaly{
		Name: EffectAfterFailure, Subject: subject,
		Detail: fmt.Sprintf("%s of %s (key %q) failed for certain, the last with status %d %s, yet it was committed",
			plural(len(intent.Attempts), "attempt", "attempts"), last.Action, intent.Key, last.Status, last.Error),
		Events: events,
	}
}

// checkShown compares the order states in answers with the states that were ever committed.
func (v *View) checkShown(f *Finding) {
	for _, op := range v.Ops {
		shows := op.Action == history.Place || op.Action == history.Cancel || op.Action == history.ReadOrder
		if !shows || op.Outcome != history.OK || op.State == "" || op.Order == "" {
			continue
		}
		order := v.orders[op.Order]
		if len(order.Versions) == 0 {
			continue // a lost acknowledgement, judged there
		}
		f.Examined++
		committed := func(version OrderVersion) bool { return version.Status == op.State }
		if !slices.ContainsFunc(order.Versions, committed) {
			f.Anomalies = append(f.Anomalies, Anomaly{
				Name: UncommittedAnswer, Subject: "order " + order.ID,
				Detail: fmt.Sprintf("%s was answered %s (operation %d), a state that was never committed; the last is %v",
					op.Action, op.State, op.ID, order.Last()),
				Events: []int64{op.Invoked.Seq, op.Completed.Seq, order.Last().Seq},
			})
		}
	}
}
