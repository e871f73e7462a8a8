package check

import "fmt"

var noLostEvent = Guarantee{
	ID: "I9", Name: "no-lost-event",
	Statement: "Every committed order version, reservation made for an order, payment that moved or was declined, and outbox row is announced by a record.",
	Check:     checkLostEvents,
}

// noLostDecision is what remains where the announcement of a placed order may fail, and the order is then cancelled.
var noLostDecision = Guarantee{
	ID: "I9", Name: "no-lost-decision",
	Statement: "Every committed order version, reservation made for an order, and outbox row is announced by a record, but for the placement of an order that was cancelled.",
	Check: func(v *View) Finding {
		return lostEvents(v, func(order *Order, version OrderVersion) bool {
			return version.Status == Pending && order.Status() == Cancelled
		})
	},
}

func checkLostEvents(v *View) Finding {
	return lostEvents(v, func(*Order, OrderVersion) bool { return false })
}

// lostEvents looks for commits that nothing announces, except those of order versions that are excused.
func lostEvents(v *View, excused func(*Order, OrderVersion) bool) (f Finding) {
	search := lostSearch{view: v, finding: &f, reported: make(map[string]bool)}
	search.atRest, search.reason = v.rest()
	for _, order := range v.Orders {
		for i, version := range order.Versions {
			if version.Deleted || i > 0 && sameAnnouncement(order.Versions[i-1], version) || excused(order, version) {
				continue
			}
			what := fmt.Sprintf("version %d (%s) of order %s", version.Version, version.Status, order.ID)
			search.require("order "+order.ID, version.EventID, v.announced(order, version), what, version.Stamp)
		}
	}
	for _, reservation := range v.Reservations {
		if reservation.EventID == "" || len(reservation.Versions) == 0 {
			continue // made over HTTP: the answer announced it
		}
		first := reservation.Versions[0]
		search.require("order "+reservation.Order, reservation.EventID, firstVisible(v.event(reservation.EventID)) != nil,
			fmt.Sprintf("reservation %s (%s) for order %s", reservation.ID, first.Status, reservation.Order), first.Stamp)
	}
	for _, payment := range v.Payments {
		for i, version := range payment.Versions {
			if !version.owes() || i > 0 && payment.Versions[i-1].Version == version.Version && payment.Versions[i-1].EventID == version.EventID {
				continue
			}
			search.require("order "+payment.Order, version.EventID, v.paymentAnnounced(payment, version),
				fmt.Sprintf("payment %s (%s) of order %s", payment.ID, version.Status, payment.Order), version.Stamp)
		}
	}
	for _, row := range v.Outbox {
		// Dead letters in the outbox are judged with the dead letters, and of retries what becomes of them.
		if row.EventID == "" || isDeadLetterTopic(row.Topic) || isRetryTopic(row.Topic) || search.reported[row.EventID] {
			continue
		}
		search.require("event "+row.EventID, row.EventID, firstVisible(v.event(row.EventID)) != nil,
			fmt.Sprintf("outbox row %s of %s for %s", row.ID, row.Database, row.Topic), row.Stamp)
	}
	switch {
	case search.waiting > 0:
		f.Unknown = plural(search.waiting, "event still waits", "events still wait") + " in an outbox"
	case search.open > 0:
		f.Unknown = fmt.Sprintf("%s not announced yet, and %s", plural(search.open, "committed change is", "committed changes are"), search.reason)
	}
	return f
}

type lostSearch struct {
	view     *View
	finding  *Finding
	atRest   bool
	reason   string
	reported map[string]bool
	waiting  int
	open     int
}

// require judges one commit that owes a record. An event that waits in an outbox is not lost: whether
// it waits too long is a matter of convergence.
func (s *lostSearch) require(subject, eventID string, found bool, what string, committed Stamp) {
	s.finding.Examined++
	if found {
		return
	}
	s.reported[eventID] = true
	event := s.view.events[eventID]
	switch {
	case event != nil && event.waits():
		s.waiting++
	case !s.atRest:
		s.open++
	default:
		anomaly := Anomaly{
			Name: LostEvent, Subject: subject,
			Detail: fmt.Sprintf("%s was committed at LSN %d, but its event %s is in no log", what, committed.LSN, eventID),
			Events: []int64{committed.Seq},
		}
		if event != nil {
			for _, row := range event.Outbox {
				anomaly.Events = append(anomaly.Events, row.Seq, row.Published.Seq)
				anomaly.Detail += fmt.Sprintf(", though outbox row %s says published", row.ID)
			}
		}
		s.finding.Anomalies = append(s.finding.Anomalies, anomaly)
	}
}

func (e *Event) waits() bool {
	for _, row := range e.Outbox {
		if row.Published.Seq == 0 {
			return true
		}
	}
	return false
}

func sameAnnouncement(before, after OrderVersion) bool {
	return !before.Deleted && before.EventID == after.EventID && before.Version == after.Version
}

// announced says whether a visible record carries the version's event; without an event id in the
// row, any record of that order and version.
func (v *View) announced(order *Order, version OrderVersion) bool {
	if version.EventID != "" {
		return firstVisible(v.event(version.EventID)) != nil
	}
	for _, event := range order.Events {
		if event.Version == version.Version && firstVisible(event) != nil && firstVisible(event).Topic == orderTopic {
			return true
		}
	}
	return false
}

func (v *View) paymentAnnounced(payment *Payment, version PaymentVersion) bool {
	if version.EventID != "" {
		return firstVisible(v.event(version.EventID)) != nil
	}
	for _, event := range v.order(payment.Order).Events {
		record := firstVisible(event)
		if record != nil && record.Topic == paymentTopic && event.Version == version.Version {
			return true
		}
	}
	return false
}
