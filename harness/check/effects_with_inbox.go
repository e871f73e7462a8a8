package check

import (
	"fmt"
	"slices"
)

var effectsWithInbox = Guarantee{
	ID: "I7", Name: "effects-with-inbox",
	Statement: "An event is marked handled, and an idempotency key taken, in the transaction of the effects.",
	Check:     checkEffectsWithInbox,
}

func checkEffectsWithInbox(v *View) (f Finding) {
	for _, row := range v.Inbox {
		if row.Outcome != Applied || v.events[row.EventID].appliedBefore(row) {
			continue
		}
		f.Examined++
		if row.Alone {
			f.Anomalies = append(f.Anomalies, Anomaly{
				Name: SplitTransaction, Subject: "event " + row.EventID,
				Detail: fmt.Sprintf("%s marked it %s at LSN %d, in a transaction that changed nothing else",
					row.Consumer, row.Outcome, row.LSN),
				Events: []int64{row.Seq},
			})
		}
	}
	for _, order := range v.Orders {
		placed := slices.IndexFunc(order.Versions, func(version OrderVersion) bool { return version.Version == 1 })
		if placed >= 0 {
			f.keyedWith("order "+order.ID, order.Versions[placed].Stamp, order.Keys)
		}
	}
	for _, reservation := range v.Reservations {
		if len(reservation.Versions) > 0 {
			f.keyedWith("reservation "+reservation.ID, reservation.Versions[0].Stamp, reservation.Keys)
		}
	}
	return f
}

// appliedBefore says whether an earlier row said the same: writing it again has no effects to keep.
func (e *Event) appliedBefore(row *InboxRow) bool {
	for _, earlier := range e.Inbox {
		if earlier == row {
			return false
		}
		if earlier.Consumer == row.Consumer && earlier.Outcome == Applied {
			return true
		}
	}
	return false
}

// keyedWith requires that what a key made was written with the key. Where there is no such row, the
// client sent no key or the design keeps none.
func (f *Finding) keyedWith(subject string, made Stamp, keys []KeyRow) {
	if len(keys) == 0 {
		return
	}
	f.Examined++
	if slices.ContainsFunc(keys, func(key KeyRow) bool { return key.LSN == made.LSN }) {
		return
	}
	f.Anomalies = append(f.Anomalies, Anomaly{
		Name: SplitTransaction, Subject: subject,
		Detail: fmt.Sprintf("it was written at LSN %d, but its idempotency key %s at LSN %d", made.LSN, keys[0].Key, keys[0].LSN),
		Events: []int64{made.Seq, keys[0].Seq},
	})
}
