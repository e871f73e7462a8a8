package check

import "fmt"

var legalTransitions = Guarantee{
	ID: "I4", Name: "legal-transitions",
	Statement: "An order starts pending, a reservation reserved or rejected, a payment anything but refunded; each ends once, and then never changes.",
	Check:     checkLegalTransitions,
}

func checkLegalTransitions(v *View) (f Finding) {
	for _, order := range v.Orders {
		for i, version := range order.Versions {
			f.Examined++
			if i == 0 {
				if version.Status != Pending || version.Version != 1 {
					f.Anomalies = append(f.Anomalies, Anomaly{
						Name: IllegalTransition, Subject: "order " + order.ID,
						Detail: fmt.Sprintf("its first committed state is %s version %d, not %s version 1", version.Status, version.Version, Pending),
						Events: []int64{version.Seq},
					})
				}
				continue
			}
			before := order.Versions[i-1]
			if name := illegal(before, version); name != "" {
				f.Anomalies = append(f.Anomalies, Anomaly{
					Name: name, Subject: "order " + order.ID,
					Detail: fmt.Sprintf("the commit at LSN %d took it from %v to %v", version.LSN, before, version),
					Events: []int64{before.Seq, version.Seq},
				})
			}
		}
	}
	for _, reservation := range v.Reservations {
		f.Examined += len(reservation.Versions)
		f.Anomalies = append(f.Anomalies, reservationTransitions(reservation)...)
	}
	for _, payment := range v.Payments {
		f.Examined += len(payment.Versions)
		f.Anomalies = append(f.Anomalies, paymentTransitions(payment)...)
	}
	return f
}

func reservationTransitions(reservation *Reservation) (anomalies []Anomaly) {
	subject := "reservation " + reservation.ID
	for i, version := range reservation.Versions {
		if i == 0 {
			if version.Deleted || version.Status != ReservationReserved && version.Status != ReservationRejected {
				anomalies = append(anomalies, Anomaly{
					Name: IllegalTransition, Subject: subject,
					Detail: fmt.Sprintf("its first committed state is %v, not %s or %s", version, ReservationReserved, ReservationRejected),
					Events: []int64{version.Seq},
				})
			}
			continue
		}
		before := reservation.Versions[i-1]
		if name := illegalReservation(before, version); name != "" {
			anomalies = append(anomalies, Anomaly{
				Name: name, Subject: subject,
				Detail: fmt.Sprintf("the commit at LSN %d took it from %v to %v", version.LSN, before, version),
				Events: []int64{before.Seq, version.Seq},
			})
		}
	}
	return anomalies
}

// illegalReservation names the anomaly of a change of a reservation, empty when it is legal.
func illegalReservation(before, after ReservationVersion) string {
	switch {
	case before.Deleted || after.Deleted:
		return IllegalTransition
	case before.Status == after.Status:
		return ""
	case before.Status != ReservationReserved:
		return TerminalOverwritten
	}
	switch after.Status {
	case ReservationConfirmed, ReservationReleased, ReservationExpired:
		return ""
	default:
		return IllegalTransition
	}
}

// String says the status.
func (v ReservationVersion) String() string {
	if v.Deleted {
		return "a deleted row"
	}
	return v.Status
}

// String says status and version.
func (v OrderVersion) String() string {
	if v.Deleted {
		return "a deleted row"
	}
	return fmt.Sprintf("%s version %d", v.Status, v.Version)
}

func terminal(status string) bool { return status == Confirmed || status == Cancelled }

// illegal names the anomaly of a change, empty when it is legal. An update that touches neither
// status nor version is no transition.
func illegal(before, after OrderVersion) string {
	switch {
	case !before.Deleted && !after.Deleted && before.Status == after.Status && before.Version == after.Version:
		return ""
	case !before.Deleted && terminal(before.Status) && before.Status != after.Status:
		return TerminalOverwritten
	case before.Deleted || after.Deleted || before.Status != Pending || !terminal(after.Status):
		return IllegalTransition
	case after.Version != before.Version+1:
		return IllegalTransition
	default:
		return ""
	}
}
