package order

import (
	"net/http"

	"github.com/ordeal-chaos/ordeal/services/internal/app"
	"github.com/ordeal-chaos/ordeal/services/internal/events"
)

// request is the body of POST /api/v1/orders.
type request struct {
	OrderID string `json:"orderId,omitempty"`
	app.Goods
	PaymentAmt int64 `json:"paymentAmt"`
}

// view is an order as clients see it.
type view struct {
	OrderID    string        `json:"orderId"`
	Status     string        `json:"status"`
	Version    int           `json:"version"`
	PaymentAmt int64         `json:"paymentAmt"`
	Lines      []events.Line `json:"lines"`
}

func (s *service) postOrder(w http.ResponseWriter, r *http.Request) {
	p, err := readPlacement(w, r)
	if err == nil {
		err = s.products.check(r.Context(), p.Lines)
	}
	if err != nil {
		s.WriteError(w, r, err)
		return
	}
	placed, replayed, err := s.place(r.Context(), p)
	switch {
	case err != nil:
		s.WriteError(w, r, err)
	case replayed:
		app.WriteJSON(w, http.StatusOK, placed)
	default:
		app.WriteJSON(w, http.StatusCreated, placed)
	}
}

func readPlacement(w http.ResponseWriter, r *http.Request) (placement, error) {
	var body request
	if err := app.ReadJSON(w, r, &body); err != nil {
		return placement{}, err
	}
	key, err := app.IdempotencyKey(r)
	if err != nil {
		return placement{}, err
	}
	lines, err := body.EventLines()
	if err != nil {
		return placement{}, err
	}
	if body.OrderID != "" && !app.ValidID(body.OrderID) {
		return placement{}, app.Refuse(http.StatusBadRequest, "orderId %q is not valid", body.OrderID)
	}
	if body.PaymentAmt < 0 {
		return placement{}, app.Refuse(http.StatusBadRequest, "paymentAmt %d is negative", body.PaymentAmt)
	}
	return placement{OrderID: body.OrderID, Lines: lines, PaymentAmt: body.PaymentAmt, key: key}, nil
}

func (s *service) getOrder(w http.ResponseWriter, r *http.Request) {
	order, err := s.find(r.Context(), r.PathValue("id"))
	if err != nil {
		s.WriteError(w, r, err)
		return
	}
	app.WriteJSON(w, http.StatusOK, order)
}

func (s *service) deleteOrder(w http.ResponseWriter, r *http.Request) {
	order, err := s.cancel(r.Context(), r.PathValue("id"))
	if err != nil {
		s.WriteError(w, r, err)
		return
	}
	app.WriteJSON(w, http.StatusOK, order)
}
