package check

import "fmt"

// Payment states. A payment begins as any of the first four; the last three are terminal.
const (
	PaymentAuthorized = "AUTHORIZED"
	PaymentCaptured   = "CAPTURED"
	PaymentDeclined   = "DECLINED"
	PaymentVoided     = "VOIDED"
	PaymentRefunded   = "REFUNDED"
)

// Operations of the payment ledger.
const (
	PaymentAuthorize = "authorize"
	PaymentCapture   = "capture"
	PaymentVoid      = "void"
	PaymentRefund    = "refund"
	PaymentDecline   = "decline"
)

// Payment joins all that was seen of one payment.
type Payment struct {
	ID, Order string
	Versions  []PaymentVersion // committed, in commit order
	Entries   []*PaymentEntry  // its ledger entries, in commit order
	// Rewrites are the changes and deletions of its ledger entries, which should never be.
	Rewrites []Rewrite
}

// PaymentVersion is one committed state of a payment row.
type PaymentVersion struct {
	Stamp
	Status  string
	Amount  int64
	Version int64
	EventID string // the event that announces it; empty where none does
	Deleted bool
}

// PaymentEntry is one row of the payment ledger.
type PaymentEntry struct {
	Stamp
	Op      string
	Amount  int64
	EventID string // the consumed event that caused it
}

// Status is the final status, empty when the row does not exist.
func (p *Payment) Status() string {
	if len(p.Versions) == 0 || p.Last().Deleted {
		return ""
	}
	return p.Last().Status
}

// Last is the final committed version; zero when there is none.
func (p *Payment) Last() PaymentVersion {
	if len(p.Versions) == 0 {
		return PaymentVersion{}
	}
	return p.Versions[len(p.Versions)-1]
}

// String says status, version and amount.
func (v PaymentVersion) String() string {
	if v.Deleted {
		return "a deleted row"
	}
	return fmt.Sprintf("%s version %d of %d", v.Status, v.Version, v.Amount)
}

// owes says whether the version is to be announced: others hear of money that moved, or that will not.
func (v PaymentVersion) owes() bool {
	return !v.Deleted && (v.Status == PaymentCaptured || v.Status == PaymentDeclined || v.Status == PaymentRefunded)
}

func (v *View) payment(id string) *Payment {
	payment := v.payments[id]
	if payment == nil {
		payment = &Payment{ID: id}
		v.payments[id] = payment
		v.Payments = append(v.Payments, payment)
	}
	return payment
}

func (b *Builder) paymentRow(c *columns, deleted bool) {
	payment := b.view.payment(c.text("payment_id"))
	payment.Order = c.text("order_id")
	payment.Versions = append(payment.Versions, PaymentVersion{
		Stamp: b.stamp, Status: c.text("status"), Amount: c.number("amount", 0), Version: c.number("version", 0),
		EventID: c.text("event_id"), Deleted: deleted,
	})
}

func (b *Builder) paymentEntry(c *columns, action string, before map[string]string) {
	if action != "insert" {
		id := c.text("payment_id")
		if old, ok := before["payment_id"]; ok {
			id = b.text(old)
		}
		payment := b.view.payment(id)
		payment.Rewrites = append(payment.Rewrites, Rewrite{b.stamp, c.text("entry_id"), b.text(action)})
		return
	}
	payment := b.view.payment(c.text("payment_id"))
	payment.Order = c.text("order_id")
	payment.Entries = append(payment.Entries, &PaymentEntry{
		Stamp: b.stamp, Op: c.text("op"), Amount: c.number("amount", 0), EventID: c.text("event_id"),
	})
}

// joinPayments ties payments to their orders, and to the events that announce them.
func (v *View) joinPayments() {
	for _, payment := range v.Payments {
		if payment.Order != "" {
			order := v.order(payment.Order)
			order.Payments = append(order.Payments, payment)
		}
		for _, version := range payment.Versions {
			if version.EventID == "" || version.Deleted {
				continue
			}
			if event := v.event(version.EventID); event.Announces == nil {
				event.Announces = &Announcement{Payment: payment, Paid: version}
				event.Order = payment.Order
			}
		}
	}
}
