package check

import "fmt"

func paymentTransitions(payment *Payment) (anomalies []Anomaly) {
	for i, version := range payment.Versions {
		if i == 0 {
			if !born(version) {
				anomalies = append(anomalies, Anomaly{
					Name: IllegalTransition, Subject: "order " + payment.Order,
					Detail: fmt.Sprintf("the first committed state of its payment is %v", version),
					Events: []int64{version.Seq},
				})
			}
			continue
		}
		before := payment.Versions[i-1]
		if name := illegalPayment(before, version); name != "" {
			anomalies = append(anomalies, Anomaly{
				Name: name, Subject: "order " + payment.Order,
				Detail: fmt.Sprintf("the commit at LSN %d took its payment from %v to %v", version.LSN, before, version),
				Events: []int64{before.Seq, version.Seq},
			})
		}
	}
	return anomalies
}

// born says whether a payment can begin so.
func born(v PaymentVersion) bool {
	if v.Deleted || v.Version != 1 {
		return false
	}
	switch v.Status {
	case PaymentAuthorized, PaymentCaptured, PaymentDeclined, PaymentVoided:
		return true
	default:
		return false
	}
}

// illegalPayment names the anomaly of a change of a payment, empty when it is legal. An update that touches neither
// status nor version is no transition.
func illegalPayment(before, after PaymentVersion) string {
	switch {
	case before.Deleted || after.Deleted:
		return IllegalTransition
	case before.Status == after.Status && before.Version == after.Version:
		return ""
	case before.Status == after.Status:
		return IllegalTransition
	case before.Status != PaymentAuthorized && before.Status != PaymentCaptured:
		return TerminalOverwritten
	case after.Version != before.Version+1:
		return IllegalTransition
	}
	switch before.Status + " " + after.Status {
	case PaymentAuthorized + " " + PaymentCaptured, PaymentAuthorized + " " + PaymentVoided, PaymentCaptured + " " + PaymentRefunded:
		return ""
	default:
		return IllegalTransition
	}
}
