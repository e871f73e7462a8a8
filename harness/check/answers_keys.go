package check

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// ordersByKey finds the committed orders that each key made: by the key in the row, by the answers,
// and, where an answer was lost on the way, by what crossed the wire.
func (v *View) ordersByKey() map[string][]*Order {
	made := make(map[string][]*Order)
	add := func(key string, order *Order) {
		if key != "" && order != nil && len(order.Versions) > 0 && !slices.Contains(made[key], order) {
			made[key] = append(made[key], order)
		}
	}
	for _, order := range v.Orders {
		add(order.Key, order)
	}
	for _, op := range v.Ops {
		if op.Action == history.Place && op.Outcome == history.OK {
			add(op.Key, v.orders[op.Order])
		}
	}
	v.answeredOnWire(history.Place, func(key, id string) { add(key, v.orders[id]) })
	return made
}

// reservationsByKey finds the reservations that each key made or was answered, in the same ways.
func (v *View) reservationsByKey() map[string][]string {
	made := make(map[string][]string)
	add := func(key, id string) {
		if key != "" && id != "" && !slices.Contains(made[key], id) {
			made[key] = append(made[key], id)
		}
	}
	for _, reservation := range v.Reservations {
		for _, row := range reservation.Keys {
			if len(reservation.Versions) > 0 {
				add(row.Key, reservation.ID)
			}
		}
	}
	for _, op := range v.Ops {
		if op.Action == history.Reserve && op.Outcome == history.OK {
			add(op.Key, op.Reservation)
		}
	}
	v.answeredOnWire(history.Reserve, func(key, id string) {
		if reservation := v.reservations[id]; reservation != nil && len(reservation.Versions) > 0 {
			add(key, id)
		}
	})
	return made
}

// answeredOnWire calls visit with each key that an attempt of the action sent, and each token that the
// answer to it carried.
func (v *View) answeredOnWire(action string, visit func(key, token string)) {
	keys := make(map[string]bool)
	for _, op := range v.Ops {
		if op.Action == action && op.Key != "" {
			keys[op.Key] = true
		}
	}
	for _, post := range v.posts {
		for _, sent := range v.carried(post.request) {
			key := v.symbols.name(sent)
			if !keys[key] {
				continue
			}
			for _, answered := range v.carried(post.response) {
				visit(key, v.symbols.name(answered))
			}
		}
	}
}

func (v *View) duplicateReservation(intent *Intent, ids []string) Anomaly {
	anomaly := Anomaly{
		Name: DuplicateReservation, Subject: "key " + intent.Key,
		Detail: fmt.Sprintf("%s with one key made %d reservations: %s",
			plural(len(intent.Attempts), "attempt", "attempts"), len(ids), strings.Join(ids, ", ")),
	}
	for _, id := range ids {
		if reservation := v.reservations[id]; reservation != nil && len(reservation.Versions) > 0 {
			anomaly.Events = append(anomaly.Events, reservation.Versions[0].Seq)
		}
	}
	for _, op := range intent.Attempts {
		anomaly.Events = append(anomaly.Events, op.Invoked.Seq, op.Completed.Seq)
	}
	return anomaly
}
