package check

import "fmt"

var converges = Guarantee{
	ID: "I15", Name: "converges",
	Statement: "At rest, no record waits for a consumer, no outbox row for its relay, and no reservation or held payment for its end.",
	Check:     checkConverges,
}

func checkConverges(v *View) (f Finding) {
	found := v.unconsumed(&f)
	found = append(found, v.unpublished(&f)...)
	found = append(found, v.unresolved(&f)...)
	atRest, reason := v.rest()
	switch {
	case len(found) == 0:
		f.Unknown = v.restless() // something waited that these checks do not see
	case !atRest:
		f.Unknown = fmt.Sprintf("%s, and %s", plural(len(found), "thing still waits", "things still wait"), reason)
	default:
		f.Anomalies = found
	}
	return f
}

// unconsumed finds visible records at or above a committed offset. Control records and aborted ones
// hold offsets too, so that the end of the log says nothing.
func (v *View) unconsumed(f *Finding) (found []Anomaly) {
	for _, offset := range v.groupOffsets() {
		f.Examined++
		partition := v.partition(offset.topic, offset.partition)
		if partition == nil {
			continue
		}
		var first *Record
		count := 0
		for i := len(partition.Records) - 1; i >= 0 && partition.Records[i].Offset >= offset.committed; i-- {
			if !partition.Records[i].Aborted {
				first = partition.Records[i]
				count++
			}
		}
		if first != nil {
			found = append(found, Anomaly{
				Name: StuckPartition, Subject: partition.String(),
				Detail: fmt.Sprintf("group %s stays at offset %d with %s unconsumed, the first of them event %s (key %s), when %s",
					offset.group, offset.committed, plural(count, "record", "records"), first.EventID, first.Key, v.standstill()),
				Events: []int64{first.Seq, offset.probe.Seq},
			})
		}
	}
	return found
}

func (v *View) unpublished(f *Finding) (found []Anomaly) {
	for _, row := range v.Outbox {
		f.Examined++
		if row.Published.Seq == 0 {
			found = append(found, Anomaly{
				Name: StuckOutbox, Subject: "event " + row.EventID,
				Detail: fmt.Sprintf("outbox row %s of %s for %s (key %s), written at LSN %d, was unpublished when %s",
					row.ID, row.Database, row.Topic, row.Key, row.LSN, v.standstill()),
				Events: []int64{row.Seq},
			})
		}
	}
	return found
}

// unresolved finds reservations still open, and payments still held: an order's must follow the order, and rest
// lasts longer than any time to live.
func (v *View) unresolved(f *Finding) (found []Anomaly) {
	for _, reservation := range v.Reservations {
		f.Examined++
		if reservation.Status() != ReservationReserved || reservation.Order == "" && !reservation.Expires {
			continue
		}
		owner := "no order owns it and it should have expired"
		if reservation.Order != "" {
			owner = "it belongs to order " + reservation.Order
		}
		last := reservation.Last()
		found = append(found, Anomaly{
			Name: StuckReservation, Subject: "reservation " + reservation.ID,
			Detail: fmt.Sprintf("%s since LSN %d; %s; %s", last.Status, last.LSN, owner, v.standstill()),
			Events: []int64{last.Seq},
		})
	}
	for _, payment := range v.Payments {
		f.Examined++
		if payment.Status() != PaymentAuthorized {
			continue
		}
		last := payment.Last()
		found = append(found, Anomaly{
			Name: StuckPayment, Subject: "order " + payment.Order,
			Detail: fmt.Sprintf("its payment %s is held since LSN %d, neither captured nor voided; %s", payment.ID, last.LSN, v.standstill()),
			Events: []int64{last.Seq},
		})
	}
	return found
}
