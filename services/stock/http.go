package stock

import (
	"errors"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordeal-chaos/ordeal/services/internal/app"
)

// level is the stock of one product as clients see it.
type level struct {
	ProductID string `json:"productId"`
	Available int64  `json:"available"`
	Reserved  int64  `json:"reserved"`
	Sold      int64  `json:"sold"`
}

// request is the body of POST /api/v1/stocks.
type request struct {
	OrderID string `json:"orderId,omitempty"`
	app.Goods
}

// view is a reservation as clients see it.
type view struct {
	ReservationID string     `json:"reservationId"`
	OrderID       *string    `json:"orderId,omitempty"`
	Status        string     `json:"status"`
	ExpiresAt     *time.Time `json:"expiresAt,omitempty"`
}

func (s *service) getStock(w http.ResponseWriter, r *http.Request) {
	found := level{ProductID: r.PathValue("id")}
	batch := &pgx.Batch{}
	batch.Queue(`select available, reserved, sold from stock where product_id = $1`, found.ProductID).
		QueryRow(func(row pgx.Row) error { return row.Scan(&found.Available, &found.Reserved, &found.Sold) })
	err := s.DB.Read(r.Context(), batch)
	if errors.Is(err, pgx.ErrNoRows) {
		err = app.Refuse(http.StatusNotFound, "no product %s", found.ProductID)
	}
	if err != nil {
		s.WriteError(w, r, err)
		return
	}
	app.WriteJSON(w, http.StatusOK, found)
}

func (s *service) postReservation(w http.ResponseWriter, r *http.Request) {
	t, err := readTry(w, r)
	if err != nil {
		s.WriteError(w, r, err)
		return
	}
	made, replayed, err := s.try(r.Context(), t)
	switch {
	case err != nil:
		s.WriteError(w, r, err)
	case replayed:
		app.WriteJSON(w, http.StatusOK, made)
	default:
		app.WriteJSON(w, http.StatusCreated, made)
	}
}

func readTry(w http.ResponseWriter, r *http.Request) (try, error) {
	var body request
	if err := app.ReadJSON(w, r, &body); err != nil {
		return try{}, err
	}
	key, err := app.IdempotencyKey(r)
	if err != nil {
		return try{}, err
	}
	lines, err := body.EventLines()
	if err != nil {
		return try{}, err
	}
	t := try{Lines: lines, key: key}
	if body.OrderID != "" {
		if !app.ValidID(body.OrderID) {
			return try{}, app.Refuse(http.StatusBadRequest, "orderId %q is not valid", body.OrderID)
		}
		t.OrderID = &body.OrderID
	}
	return t, nil
}

func (s *service) putReservation(w http.ResponseWriter, r *http.Request) {
	confirmed, err := s.settleByClient(r.Context(), r.PathValue("id"), sell)
	if err != nil {
		s.WriteError(w, r, err)
		return
	}
	app.WriteJSON(w, http.StatusOK, confirmed)
}

func (s *service) deleteReservation(w http.ResponseWriter, r *http.Request) {
	if _, err := s.settleByClient(r.Context(), r.PathValue("id"), release); err != nil {
		s.WriteError(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
