package check

import (
	"fmt"
	"slices"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// checkSettlements looks for reservations that were settled as a client asked although the service told it for certain
// that they were not. Confirming or releasing a second time is the same wish: refusing it says that it did not come
// true, whatever became of the answer to the first. An expiry is nobody's wish.
func (v *View) checkSettlements(f *Finding) {
	reported := make(map[string]bool)
	for _, op := range v.Ops {
		wished := map[string]string{history.ConfirmStock: ReservationConfirmed, history.ReleaseStock: ReservationReleased}[op.Action]
		reservation := v.reservations[op.Reservation]
		// Without a status the request never left: that says nothing about the others.
		if wished == "" || op.Outcome != history.Fail || op.Status == 0 || reservation == nil {
			continue
		}
		f.Examined++
		i := slices.IndexFunc(reservation.Versions, func(version ReservationVersion) bool { return version.Status == wished })
		if i < 0 || reported[op.Reservation+wished] {
			continue
		}
		reported[op.Reservation+wished] = true
		f.Anomalies = append(f.Anomalies, Anomaly{
			Name: EffectAfterFailure, Subject: "reservation " + op.Reservation,
			Detail: fmt.Sprintf("%s (attempt %d) was refused with status %d, yet the reservation was committed as %s at LSN %d",
				op.Action, op.Attempt, op.Status, wished, reservation.Versions[i].LSN),
			Events: []int64{op.Invoked.Seq, op.Completed.Seq, reservation.Versions[i].Seq},
		})
	}
}
