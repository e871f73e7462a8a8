package stock

import (
	"net/http"

	"github.com/ordeal-chaos/ordeal/services/internal/app"
	"github.com/ordeal-chaos/ordeal/services/internal/events"
)

// readOrder reads what a coordinator asks of an order: its id and its lines.
func readOrder(w http.ResponseWriter, r *http.Request) (orderID string, lines []events.Line, err error) {
	var body app.Goods
	if err := app.ReadJSON(w, r, &body); err != nil {
		return "", nil, err
	}
	if lines, err = body.EventLines(); err != nil {
		return "", nil, err
	}
	if orderID = r.PathValue("order"); !app.ValidID(orderID) {
		return "", nil, app.Refuse(http.StatusBadRequest, "order %q is not valid", orderID)
	}
	return orderID, lines, nil
}

func (s *service) postTry(w http.ResponseWriter, r *http.Request) {
	orderID, lines, err := readOrder(w, r)
	again := false
	if err == nil {
		again, err = s.tryOrder(r.Context(), orderID, lines)
	}
	switch {
	case err != nil:
		s.WriteError(w, r, err)
	case again:
		w.WriteHeader(http.StatusOK)
	default:
		w.WriteHeader(http.StatusCreated)
	}
}

func (s *service) putConfirm(w http.ResponseWriter, r *http.Request) {
	s.answerOrder(w, r, s.confirmOrder(r.Context(), r.PathValue("order")))
}

func (s *service) deleteTry(w http.ResponseWriter, r *http.Request) {
	orderID, lines, err := readOrder(w, r)
	if err == nil {
		err = s.cancelOrder(r.Context(), orderID, lines)
	}
	s.answerOrder(w, r, err)
}

func (s *service) answerOrder(w http.ResponseWriter, r *http.Request, err error) {
	if err != nil {
		s.WriteError(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
