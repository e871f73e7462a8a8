package check

import (
	"fmt"
	"slices"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

var acknowledgedIsDurable = Guarantee{
	ID: "I11", Name: "acknowledged-is-durable",
	Statement: "What a client was acknowledged is in the database at the end.",
	Check:     checkDurable,
}

func checkDurable(v *View) (f Finding) {
	for _, op := range v.Ops {
		if op.Outcome != history.OK {
			continue
		}
		promise, ok := v.promiseOf(op)
		if !ok {
			continue
		}
		f.Examined++
		if slices.Contains(promise.kept, promise.final) || promise.final != "" && len(promise.kept) == 0 {
			continue
		}
		final := promise.final
		if final == "" {
			final = "not there"
		}
		f.Anomalies = append(f.Anomalies, Anomaly{
			Name: LostAck, Subject: promise.subject,
			Detail: fmt.Sprintf("%s was answered %d to %s (operation %d), but at the end it is %s",
				op.Action, op.Status, op.Client, op.ID, final),
			Events: []int64{op.Invoked.Seq, op.Completed.Seq, promise.last.Seq},
		})
	}
	return f
}

// promise is what an acknowledged operation makes certain: the final status is one of kept, or any
// where kept is empty.
type promise struct {
	subject string
	final   string // empty when the row is not there
	last    Mark
	kept    []string
}

func (v *View) promiseOf(op *Op) (promise, bool) {
	switch op.Action {
	case history.Place:
		return v.orderPromise(op)
	case history.Cancel:
		if op.State != "" && op.State != Cancelled {
			return promise{}, false // the answer says that it was not cancelled
		}
		return v.orderPromise(op, Cancelled)
	case history.Reserve:
		return v.reservationPromise(op)
	case history.ConfirmStock:
		return v.reservationPromise(op, ReservationConfirmed)
	case history.ReleaseStock:
		return v.reservationPromise(op, ReservationReleased, ReservationExpired)
	default:
		return promise{}, false
	}
}

func (v *View) orderPromise(op *Op, kept ...string) (promise, bool) {
	if op.Order == "" {
		return promise{}, false
	}
	p := promise{subject: "order " + op.Order, kept: kept}
	if order := v.orders[op.Order]; order != nil && len(order.Versions) > 0 {
		p.final, p.last = order.Status(), order.Last().Mark
	}
	return p, true
}

func (v *View) reservationPromise(op *Op, kept ...string) (promise, bool) {
	if op.Reservation == "" {
		return promise{}, false
	}
	p := promise{subject: "reservation " + op.Reservation, kept: kept}
	if reservation := v.reservations[op.Reservation]; reservation != nil {
		p.final, p.last = reservation.Status(), reservation.Last().Mark
	}
	return p, true
}
