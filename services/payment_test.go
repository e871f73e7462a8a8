package services_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ordeal-chaos/ordeal/services/internal/events"
	"github.com/ordeal-chaos/ordeal/services/payment"
)

// paidStack is a stack with a payment service.
type paidStack struct {
	*stack
	payments *pgxpool.Pool
	url      string // of payments
}

// startPayment starts the payment service alone, in a stack whose services are paid for.
func startPayment(t *testing.T, env map[string]string) *paidStack {
	if env == nil {
		env = map[string]string{}
	}
	if env["PARTS"] == "" {
		env["PARTS"] = "payment"
	}
	s := &paidStack{stack: newStack(t, env)}
	s.payments = postgres(t).database(t, payment.Schema)
	address := freeAddress(t)
	s.url = "http://" + address + "/api/v1/payments"
	s.start(payment.Run, map[string]string{"HTTP_ADDR": address, "DATABASE_URL": s.payments.Config().ConnString(), "ORDER_URL": s.orderURL})
	s.awaitReady("http://" + address)
	return s
}

func (s *paidStack) post(order string, amount int, hold bool) answer {
	return s.call(http.MethodPost, s.url, "", fmt.Sprintf(`{"orderId":%q,"amount":%d,"hold":%v}`, order, amount, hold))
}

func (s *paidStack) put(order string) answer { return s.call(http.MethodPut, s.url+"/"+order, "", "") }

func (s *paidStack) delete(order string) answer {
	return s.call(http.MethodDelete, s.url+"/"+order, "", "")
}

// paid returns the status of an order's payment.
func (s *paidStack) paid(order string) string {
	return s.one(s.payments, `select status from payments where order_id = $1`, order)
}

// moved returns the ledger of an order's payment, in order.
func (s *paidStack) moved(order string) string {
	return s.one(s.payments, `select string_agg(op || ' ' || amount, ', ' order by entry_id) from payment_ledger where order_id = $1`, order)
}

func (s *paidStack) produceEvent(topic string, e events.Event) {
	s.produce(&kgo.Record{Topic: topic, Partition: 0, Key: []byte(e.OrderID), Value: e.Encode(), Headers: []kgo.RecordHeader{
		{Key: events.HeaderID, Value: []byte(e.ID)}, {Key: events.HeaderType, Value: []byte(e.Type)},
	}})
}

func TestPaymentOverREST(t *testing.T) {
	s := startPayment(t, map[string]string{"PAYMENT_LIMIT": "1000"})

	made := s.post("o-1", 100, false)
	require.Equal(t, http.StatusCreated, made.Status, "%v", made.Body)
	require.Equal(t, "CAPTURED", made.text("status"))
	again := s.post("o-1", 100, false)
	require.Equal(t, http.StatusOK, again.Status)
	require.Equal(t, made.Body, again.Body)
	require.Equal(t, http.StatusUnprocessableEntity, s.post("o-1", 101, false).Status)
	require.Equal(t, http.StatusOK, s.put("o-1").Status, "it is captured already")
	require.Equal(t, http.StatusNoContent, s.delete("o-1").Status)
	require.Equal(t, http.StatusNoContent, s.delete("o-1").Status)
	require.Equal(t, http.StatusConflict, s.post("o-1", 100, false).Status)
	require.Equal(t, http.StatusConflict, s.put("o-1").Status)
	require.Equal(t, "REFUNDED", s.call(http.MethodGet, s.url+"/o-1", "", "").text("status"))
	require.Equal(t, "capture 100, refund 100", s.moved("o-1"))

	require.Equal(t, "AUTHORIZED", s.post("o-2", 100, true).text("status"))
	require.Equal(t, "CAPTURED", s.put("o-2").text("status"))
	require.Equal(t, http.StatusOK, s.put("o-2").Status)
	require.Equal(t, "authorize 100, capture 100", s.moved("o-2"))

	require.Equal(t, http.StatusCreated, s.post("o-3", 100, true).Status)
	require.Equal(t, http.StatusNoContent, s.delete("o-3").Status)
	require.Equal(t, http.StatusConflict, s.put("o-3").Status, "it was cancelled, and did not expire")
	require.Equal(t, "authorize 100, void 100", s.moved("o-3"))

	require.Equal(t, http.StatusNoContent, s.delete("o-4").Status, "cancelled before it was charged")
	require.Equal(t, http.StatusConflict, s.post("o-4", 100, false).Status)
	require.Equal(t, "VOIDED", s.paid("o-4"))
	require.Empty(t, s.moved("o-4"))

	for range 2 {
		require.Equal(t, http.StatusPaymentRequired, s.post("o-5", 1001, false).Status)
	}
	require.Equal(t, http.StatusConflict, s.put("o-5").Status)
	require.Equal(t, http.StatusNoContent, s.delete("o-5").Status)
	require.Equal(t, "decline 1001", s.moved("o-5"))

	require.Equal(t, http.StatusNotFound, s.put("o-6").Status)
	require.Equal(t, http.StatusNotFound, s.call(http.MethodGet, s.url+"/o-6", "", "").Status)
	require.Equal(t, http.StatusBadRequest, s.post("", 1, false).Status)
	require.Equal(t, http.StatusBadRequest, s.post("o-7", -1, false).Status)

	body := `{"orderId":"o-8","amount":5}`
	require.Equal(t, http.StatusCreated, s.call(http.MethodPost, s.url, "key-8", body).Status)
	require.Equal(t, http.StatusOK, s.call(http.MethodPost, s.url, "key-8", body).Status)
	require.Equal(t, http.StatusUnprocessableEntity, s.call(http.MethodPost, s.url, "key-8", `{"orderId":"o-9","amount":5}`).Status)
	require.Empty(t, s.paid("o-9"), "a refused request has no effect")

	require.Eventually(t, func() bool { return len(s.eventsOf(events.PaymentEvents, "o-1", events.PaymentRefunded)) == 1 }, patience, 10*time.Millisecond)
	require.Len(t, s.eventsOf(events.PaymentEvents, "o-1", events.PaymentCaptured), 1)
	require.Len(t, s.eventsOf(events.PaymentEvents, "o-5", events.PaymentDeclined), 1)
}

// A charge and its cancellation at the same time end as one or the other, and no money stays.
func TestChargeRacesCancel(t *testing.T) {
	s := startPayment(t, nil)
	for n := range 30 {
		order := fmt.Sprintf("race-%d", n)
		var racing sync.WaitGroup
		var charged, cancelled answer
		racing.Go(func() { charged = s.post(order, 10, false) })
		racing.Go(func() { cancelled = s.delete(order) })
		racing.Wait()
		assert.Equal(t, http.StatusNoContent, cancelled.Status)
		switch s.paid(order) {
		case "VOIDED":
			assert.Equal(t, http.StatusConflict, charged.Status)
			assert.Empty(t, s.moved(order))
		case "REFUNDED":
			assert.Equal(t, "capture 10, refund 10", s.moved(order))
		default:
			t.Errorf("order %s is %s", order, s.paid(order))
		}
	}
}

func TestHoldExpires(t *testing.T) {
	s := startPayment(t, map[string]string{"RESERVATION_TTL": "30ms", "SWEEP_INTERVAL": "5ms"})
	require.Equal(t, http.StatusCreated, s.post("o-1", 100, true).Status)
	s.await(func() string { return s.paid("o-1") }, "VOIDED", "payment")
	require.Equal(t, http.StatusGone, s.put("o-1").Status)
	require.Equal(t, "authorize 100, void 100", s.moved("o-1"))
}

// In TCC a hold ends as its order did, however old it is.
func TestHoldAsksItsOrder(t *testing.T) {
	s := startPayment(t, map[string]string{"PARTS": "payment+tcc-rest", "RESERVATION_TTL": "30ms", "SWEEP_INTERVAL": "5ms"})
	orders := map[string]string{"dead": "CANCELLED", "alive": "CONFIRMED", "undecided": "PENDING"}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/orders/{id}", func(w http.ResponseWriter, r *http.Request) {
		status, ok := orders[r.PathValue("id")]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
		}
		fmt.Fprintf(w, `{"status":%q}`, status)
	})
	server := &http.Server{Addr: s.orderURL[len("http://"):], Handler: mux, ReadHeaderTimeout: time.Second}
	for _, order := range []string{"dead", "alive", "undecided", "unknown"} {
		require.Equal(t, http.StatusCreated, s.post(order, 100, true).Status)
	}
	s.never(func() string { return s.paid("dead") }, "VOIDED", 60*time.Millisecond) // nobody answers
	done := make(chan struct{})
	go func() { _ = server.ListenAndServe(); close(done) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	s.await(func() string { return s.paid("dead") }, "VOIDED", "payment of a cancelled order")
	s.await(func() string { return s.paid("unknown") }, "VOIDED", "payment of no order")
	s.await(func() string { return s.paid("alive") }, "CAPTURED", "payment of a confirmed order")
	require.Equal(t, "AUTHORIZED", s.paid("undecided"))
	require.Equal(t, "CAPTURED", s.put("undecided").text("status"), "it is due, and yet it can be confirmed")
}

func TestPaidOrders(t *testing.T) {
	s := startPayment(t, map[string]string{"PAYMENT_LIMIT": "1000"})
	s.startOrder()
	s.startStock()
	s.awaitReady(s.orderURL)
	s.awaitReady(s.stockURL)
	s.seed("apple", 10)

	paid := s.place(`{"productId":"apple","qty":2,"paymentAmt":7}`)
	s.awaitStatus(paid, "CONFIRMED")
	require.Equal(t, "capture 7", s.moved(paid))
	s.awaitLevels("apple", "8 0 2")

	dear := s.place(`{"productId":"apple","qty":2,"paymentAmt":1001}`)
	s.awaitStatus(dear, "CANCELLED")
	require.Equal(t, "decline 1001", s.moved(dear))
	s.awaitLevels("apple", "8 0 2")

	s.published()
	s.settled("payment", events.OrderEvents)
	s.settled("payment", events.StockEvents)
	s.settled("order", events.PaymentEvents)
	require.Equal(t, "CONFIRMED", s.status(paid))
}

// Whichever of the charge and the cancellation comes first, nothing stays charged; delivered again, nothing moves.
func TestEventsOfCancelledOrders(t *testing.T) {
	amount := int64(7)
	lines := []events.Line{{LineNo: 1, ProductID: "apple", Qty: 1}}
	reserved := func(order string) events.Event {
		return events.Event{ID: "reserved-" + order, Type: events.StockReserved, OrderID: order, Version: 1, Lines: lines, PaymentAmt: &amount}
	}
	cancelled := func(order string) events.Event {
		return events.Event{ID: "cancelled-" + order, Type: events.OrderCancelled, OrderID: order, Version: 2, Lines: lines}
	}
	for _, without := range []string{"", "refund-late"} {
		t.Run("without "+without, func(t *testing.T) {
			s := startPayment(t, map[string]string{"WITHOUT": without})
			for range 2 {
				s.produceEvent(events.StockEvents, reserved("early"))
				s.settled("payment", events.StockEvents)
				require.Equal(t, "CAPTURED", s.paid("early"))
			}
			for range 2 {
				s.produceEvent(events.OrderEvents, cancelled("early"))
				s.settled("payment", events.OrderEvents)
			}
			require.Equal(t, "capture 7, refund 7", s.moved("early"))

			s.produceEvent(events.OrderEvents, cancelled("late"))
			s.settled("payment", events.OrderEvents)
			for range 2 {
				s.produceEvent(events.StockEvents, reserved("late"))
				s.settled("payment", events.StockEvents)
			}
			if without == "" {
				require.Equal(t, "VOIDED", s.paid("late"))
				require.Empty(t, s.moved("late"))
			} else {
				require.Equal(t, "capture 7", s.moved("late"), "the bug that the guard keeps out")
			}
		})
	}
}
