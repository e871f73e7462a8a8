package check

import "fmt"

// stockRollback is the type of the event by which an order that was rolled back gives its stock back.
const stockRollback = "StockRollback"

var noPhantomEvent = Guarantee{
	ID: "I8", Name: "no-phantom-event",
	Statement: "Every visible event announces a row version that was committed.",
	Check:     checkPhantoms,
}

func checkPhantoms(v *View) (f Finding) {
	for _, event := range v.Events {
		record := firstVisible(event)
		if record == nil || v.producer(record.Topic) == "" {
			continue
		}
		if record.Payload != nil && record.Payload.Type == stockRollback && !v.exists(record.Payload.OrderID) {
			continue // it announces that there is no row
		}
		f.Examined++
		if v.announces(event, record) {
			continue
		}
		what := record.Broken
		if record.Payload != nil {
			what = fmt.Sprintf("%s version %d of order %s", record.Payload.Type, record.Payload.Version, record.Payload.OrderID)
		}
		f.Anomalies = append(f.Anomalies, Anomaly{
			Name: PhantomEvent, Subject: "event " + event.ID,
			Detail: fmt.Sprintf("%v says %s, but no committed row announces it", record.Position(), what),
			Events: []int64{record.Seq},
		})
	}
	return f
}

// exists says whether the order was ever committed.
func (v *View) exists(order string) bool {
	known := v.orders[order]
	return known != nil && len(known.Versions) > 0
}

func firstVisible(event *Event) *Record {
	for _, record := range event.Records {
		if record.Visible() {
			return record
		}
	}
	return nil
}

// announces says whether a committed row stands behind the event. Rows name their event. Only where a
// service keeps no such column does the order's version have to do: a transaction that is repeated
// after a rollback writes the same version under a new event id, and the first event stays a phantom.
func (v *View) announces(event *Event, record *Record) bool {
	if event.Announces != nil {
		return true
	}
	payload := record.Payload
	if payload == nil {
		return false
	}
	order := v.orders[payload.OrderID]
	if order == nil {
		return false
	}
	if record.Topic == stockTopic {
		for _, reservation := range order.Reservations {
			if reservation.EventID == "" {
				return true
			}
		}
		return false
	}
	if record.Topic == paymentTopic {
		for _, payment := range order.Payments {
			for _, version := range payment.Versions {
				if version.EventID == "" && version.owes() && version.Version == payload.Version {
					return true
				}
			}
		}
		return false
	}
	for _, version := range order.Versions {
		if version.EventID == "" && version.Version == payload.Version && !version.Deleted {
			return true
		}
	}
	return false
}
