package check

import "fmt"

var eventsMatchRows = Guarantee{
	ID: "I17", Name: "events-match-rows",
	Statement: "The payload, key and headers of an event say what the rows that it announces say.",
	Check:     checkPayloads,
}

func checkPayloads(v *View) (f Finding) {
	for _, event := range v.Events {
		if event.Announces == nil {
			continue // a phantom, judged there
		}
		for _, record := range event.Records {
			if !record.Visible() {
				continue
			}
			f.Examined++
			if mismatch, row := v.mismatch(event, record); mismatch != "" {
				f.Anomalies = append(f.Anomalies, Anomaly{
					Name: PayloadMismatch, Subject: "event " + event.ID,
					Detail: fmt.Sprintf("%v: %s", record.Position(), mismatch),
					Events: []int64{row, record.Seq},
				})
			}
		}
	}
	return f
}

// mismatch compares one record with the rows, and returns the row that says otherwise.
func (v *View) mismatch(event *Event, record *Record) (text string, row int64) {
	announced := event.Announces
	row = announced.seq()
	payload := record.Payload
	if payload == nil {
		return record.Broken, row
	}
	if text := selfMismatch(event, record); text != "" {
		return text, row
	}
	switch {
	case announced.Order != nil:
		return orderMismatch(announced, payload), row
	case announced.Payment != nil:
		return paymentMismatch(announced, payload), row
	}
	return v.reservationMismatch(announced.Reservation, payload), row
}

// selfMismatch compares payload, key and headers of one record with each other.
func selfMismatch(event *Event, record *Record) string {
	payload := record.Payload
	switch {
	case record.Header(headerEventID) != "" && record.Header(headerEventID) != event.ID:
		return fmt.Sprintf("its payload has event id %q, its header %q", event.ID, record.Header(headerEventID))
	case record.Key != payload.OrderID:
		return fmt.Sprintf("its key is %q, but its payload is of order %s", record.Key, payload.OrderID)
	case record.Header(headerEventType) != "" && record.Header(headerEventType) != payload.Type:
		return fmt.Sprintf("its header says %s, its payload %s", record.Header(headerEventType), payload.Type)
	}
	return ""
}

// announcedStatus is the row status that each type of event announces.
var announcedStatus = map[string]string{
	"OrderPlaced": Pending, "OrderConfirmed": Confirmed, "OrderCancelled": Cancelled,
	"StockReserved": ReservationReserved, "StockRejected": ReservationRejected,
	"PaymentCaptured": PaymentCaptured, "PaymentDeclined": PaymentDeclined, "PaymentRefunded": PaymentRefunded,
}

func orderMismatch(announced *Announcement, payload *Payload) string {
	order, version := announced.Order, announced.Version
	switch {
	case payload.OrderID != order.ID:
		return fmt.Sprintf("its payload is of order %s, the row of order %s", payload.OrderID, order.ID)
	case payload.Version != version.Version || announcedStatus[payload.Type] != version.Status:
		return fmt.Sprintf("it says %s version %d, the row is %v", payload.Type, payload.Version, version)
	case payload.PaymentAmt != nil && order.HasPayment && *payload.PaymentAmt != order.Payment:
		return fmt.Sprintf("its payment is %d, the row's %d", *payload.PaymentAmt, order.Payment)
	case payload.Type == "OrderPlaced" || len(payload.Lines) > 0:
		return lineMismatch(payload.Lines, order.Lines)
	}
	return ""
}

func paymentMismatch(announced *Announcement, payload *Payload) string {
	payment, version := announced.Payment, announced.Paid
	switch {
	case payload.OrderID != payment.Order:
		return fmt.Sprintf("its payload is of order %s, the payment of order %s", payload.OrderID, payment.Order)
	case payload.Version != version.Version || announcedStatus[payload.Type] != version.Status:
		return fmt.Sprintf("it says %s version %d, the payment is %v", payload.Type, payload.Version, version)
	case payload.PaymentAmt != nil && *payload.PaymentAmt != version.Amount:
		return fmt.Sprintf("its payment is %d, the row's %d", *payload.PaymentAmt, version.Amount)
	}
	return ""
}

func (v *View) reservationMismatch(reservation *Reservation, payload *Payload) string {
	if payload.OrderID != reservation.Order {
		return fmt.Sprintf("its payload is of order %s, the reservation of order %s", payload.OrderID, reservation.Order)
	}
	first := reservation.Versions[0]
	if announcedStatus[payload.Type] != first.Status {
		return fmt.Sprintf("it says %s, the reservation was made as %s", payload.Type, first.Status)
	}
	if order := v.orders[reservation.Order]; payload.PaymentAmt != nil && order != nil && order.HasPayment && *payload.PaymentAmt != order.Payment {
		return fmt.Sprintf("its payment is %d, the order's %d", *payload.PaymentAmt, order.Payment)
	}
	if len(payload.Lines) == 0 {
		return ""
	}
	lines := reservation.Lines
	if len(lines) == 0 { // a rejected order has no reserved lines
		lines = v.order(reservation.Order).Lines
	}
	return lineMismatch(payload.Lines, lines)
}

func lineMismatch(said []PayloadLine, rows []OrderLine) string {
	if len(said) != len(rows) {
		return fmt.Sprintf("it has %s, the rows %d", plural(len(said), "line", "lines"), len(rows))
	}
	byNumber := make(map[int64]OrderLine, len(rows))
	for _, row := range rows {
		byNumber[row.No] = row
	}
	for _, line := range said {
		row, ok := byNumber[line.LineNo]
		if !ok {
			return fmt.Sprintf("the rows have no line %d", line.LineNo)
		}
		if row.SKU != line.ProductID || row.Qty != line.Qty {
			return fmt.Sprintf("its line %d is %d of %s, the row's %d of %s", line.LineNo, line.Qty, line.ProductID, row.Qty, row.SKU)
		}
	}
	return ""
}
