package payment

import (
	"net/http"

	"github.com/ordeal-chaos/ordeal/services/internal/app"
)

// request is the body of POST /api/v1/payments.
type request struct {
	OrderID string `json:"orderId"`
	Amount  int64  `json:"amount"`
	Hold    bool   `json:"hold"`
}

// view is a payment as clients see it.
type view struct {
	PaymentID string `json:"paymentId"`
	OrderID   string `json:"orderId"`
	Status    string `json:"status"`
	Amount    int64  `json:"amount"`
	Version   int    `json:"version"`
}

func (p payment) view() view {
	return view{PaymentID: p.id, OrderID: p.orderID, Status: p.status, Amount: p.amount, Version: p.version}
}

func (s *service) postPayment(w http.ResponseWriter, r *http.Request) {
	c, err := readCharge(w, r)
	if err != nil {
		s.WriteError(w, r, err)
		return
	}
	charged, made, err := s.chargeForClient(r.Context(), c)
	switch {
	case err != nil:
		s.WriteError(w, r, err)
	case made:
		app.WriteJSON(w, http.StatusCreated, charged.view())
	default:
		app.WriteJSON(w, http.StatusOK, charged.view())
	}
}

func readCharge(w http.ResponseWriter, r *http.Request) (charge, error) {
	var body request
	if err := app.ReadJSON(w, r, &body); err != nil {
		return charge{}, err
	}
	key, err := app.IdempotencyKey(r)
	if err != nil {
		return charge{}, err
	}
	if !app.ValidID(body.OrderID) {
		return charge{}, app.Refuse(http.StatusBadRequest, "orderId %q is not valid", body.OrderID)
	}
	if body.Amount < 0 {
		return charge{}, app.Refuse(http.StatusBadRequest, "amount %d is negative", body.Amount)
	}
	return charge{OrderID: body.OrderID, Amount: body.Amount, Hold: body.Hold, key: key}, nil
}

func (s *service) getPayment(w http.ResponseWriter, r *http.Request) {
	found, err := s.look(r.Context(), r.PathValue("order"))
	s.answer(w, r, found, err)
}

func (s *service) putPayment(w http.ResponseWriter, r *http.Request) {
	captured, err := s.captureForClient(r.Context(), r.PathValue("order"))
	s.answer(w, r, captured, err)
}

func (s *service) answer(w http.ResponseWriter, r *http.Request, p payment, err error) {
	if err != nil {
		s.WriteError(w, r, err)
		return
	}
	app.WriteJSON(w, http.StatusOK, p.view())
}

func (s *service) deletePayment(w http.ResponseWriter, r *http.Request) {
	orderID := r.PathValue("order")
	if !app.ValidID(orderID) {
		s.WriteError(w, r, app.Refuse(http.StatusBadRequest, "order %q is not valid", orderID))
		return
	}
	if err := s.cancelForClient(r.Context(), orderID); err != nil {
		s.WriteError(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
