package services_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/stock"
)

// participant is the stock service of a TCC design, whose order service answers whatever fate says.
type participant struct {
	*stack
	fate atomic.Value // of every order: a status, or empty: the order service has no answer
}

func startParticipant(t *testing.T, env map[string]string) *participant {
	env["PARTS"] = "tcc-rest+payment"
	if env["SWEEP_INTERVAL"] == "" {
		env["SWEEP_INTERVAL"] = "20ms"
	}
	p := &participant{stack: newStack(t, env)}
	p.fate.Store("PENDING")
	orders := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		switch fate := p.fate.Load().(string); fate {
		case "":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "unknown":
			w.WriteHeader(http.StatusNotFound)
		default:
			fmt.Fprintf(w, `{"status":%q}`, fate)
		}
	}))
	t.Cleanup(orders.Close)
	p.seed("apple", 10)
	p.start(stock.Run, map[string]string{
		"HTTP_ADDR": p.stockURL[len("http://"):], "DATABASE_URL": p.stock.Config().ConnString(), "ORDER_URL": orders.URL,
	})
	p.awaitReady(p.stockURL)
	return p
}

func (p *participant) ask(method, order string, qty int) int {
	return p.call(method, p.stockURL+"/api/v1/orders/"+order+"/stock", "", fmt.Sprintf(`{"productId":"apple","qty":%d}`, qty)).Status
}

func (p *participant) try(order string, qty int) int  { return p.ask(http.MethodPost, order, qty) }
func (p *participant) confirm(order string) int       { return p.ask(http.MethodPut, order, 1) }
func (p *participant) cancel(order string, q int) int { return p.ask(http.MethodDelete, order, q) }

func (p *participant) ledger(order string) string {
	return p.one(p.stock, `select string_agg(op || ' ' || qty, ', ' order by entry_id) from stock_ledger where order_id = $1`, order)
}

func TestParticipant(t *testing.T) {
	p := startParticipant(t, map[string]string{"RESERVATION_TTL": "10m"})
	assert.Equal(t, 201, p.try("o-1", 4))
	assert.Equal(t, 200, p.try("o-1", 4), "again")
	assert.Equal(t, "6 4 0", p.levels("apple"))
	for range 2 {
		assert.Equal(t, 204, p.confirm("o-1"))
	}
	assert.Equal(t, "6 0 4", p.levels("apple"))
	assert.Equal(t, 200, p.try("o-1", 4), "a late copy of the Try")
	assert.Equal(t, 409, p.cancel("o-1", 4), "it is sold")
	assert.Equal(t, "reserve 4, sell 4", p.ledger("o-1"))

	assert.Equal(t, 201, p.try("o-2", 2))
	for range 2 {
		assert.Equal(t, 204, p.cancel("o-2", 2))
	}
	assert.Equal(t, 409, p.try("o-2", 2), "cancelled")
	assert.Equal(t, 409, p.confirm("o-2"))
	assert.Equal(t, "reserve 2, release 2", p.ledger("o-2"))

	assert.Equal(t, 409, p.try("o-3", 7), "there is not enough")
	assert.Equal(t, 409, p.confirm("o-3"))
	assert.Equal(t, 204, p.cancel("o-3", 7))
	assert.Equal(t, 400, p.call(http.MethodPost, p.stockURL+"/api/v1/orders/o-4/stock", "", `{}`).Status)
	assert.Equal(t, "6 0 4", p.levels("apple"))
}

func TestEmptyRollback(t *testing.T) {
	withAndWithout(t, services.EmptyRollback, func(t *testing.T, env map[string]string, sound bool) {
		p := startParticipant(t, env)
		assert.Equal(t, 204, p.cancel("o-1", 3))
		if sound {
			assert.Empty(t, p.ledger("o-1"))
			assert.Equal(t, "10 0 0", p.levels("apple"))
			return
		}
		assert.Equal(t, "release 3", p.ledger("o-1"))
	})
}

func TestSuspensionFence(t *testing.T) {
	withAndWithout(t, services.SuspensionFence, func(t *testing.T, env map[string]string, sound bool) {
		env["RESERVATION_TTL"] = "50ms"
		p := startParticipant(t, env)
		p.fate.Store("CANCELLED")
		assert.Equal(t, 204, p.cancel("o-1", 3))
		if sound {
			assert.Equal(t, 409, p.try("o-1", 3))
			assert.Equal(t, "10 0 0", p.levels("apple"))
			return
		}
		assert.Equal(t, 201, p.try("o-1", 3))
		p.never(func() string { return p.levels("apple") }, "10 0 0", 300*time.Millisecond)
	})
}

func TestFencedTryFails(t *testing.T) {
	withAndWithout(t, services.FencedTryFails, func(t *testing.T, env map[string]string, sound bool) {
		p := startParticipant(t, env)
		assert.Equal(t, 204, p.cancel("o-1", 3))
		assert.Equal(t, map[bool]int{true: 409, false: 200}[sound], p.try("o-1", 3))
		assert.Equal(t, "10 0 0", p.levels("apple"))
	})
}

func TestTryReserves(t *testing.T) {
	withAndWithout(t, services.TryReserves, func(t *testing.T, env map[string]string, sound bool) {
		env["RESERVATION_TTL"] = "10m"
		p := startParticipant(t, env)
		assert.Equal(t, 201, p.try("o-1", 7))
		if sound {
			assert.Equal(t, 409, p.try("o-2", 7))
			return
		}
		assert.Equal(t, 201, p.try("o-2", 7))
		assert.Equal(t, 201, p.try("o-3", 7))
		assert.Equal(t, 204, p.confirm("o-1"))
		assert.Equal(t, 204, p.cancel("o-3", 7))
		assert.Equal(t, "3 0 7", p.levels("apple"))
		assert.Equal(t, 204, p.confirm("o-2"))
		assert.Equal(t, "-4 0 14", p.levels("apple"))
	})
}

func TestExpiryAsks(t *testing.T) {
	withAndWithout(t, services.ExpiryAsks, func(t *testing.T, env map[string]string, sound bool) {
		env["RESERVATION_TTL"] = "50ms"
		p := startParticipant(t, env)
		p.fate.Store("")
		assert.Equal(t, 201, p.try("o-1", 3))
		if !sound {
			p.awaitLevels("apple", "10 0 0")
			assert.Equal(t, 409, p.confirm("o-1"))
			return
		}
		levels := func() string { return p.levels("apple") }
		p.never(levels, "10 0 0", 200*time.Millisecond)
		p.fate.Store("PENDING")
		p.never(levels, "10 0 0", 200*time.Millisecond)
		p.fate.Store("CONFIRMED")
		p.awaitLevels("apple", "7 0 3")
		assert.Equal(t, 204, p.confirm("o-1"), "the Confirm that was on its way")
		p.fate.Store("CANCELLED")
		assert.Equal(t, 201, p.try("o-2", 1))
		p.await(func() string { return p.ledger("o-2") }, "reserve 1, release 1", "ledger")
		p.fate.Store("unknown")
		assert.Equal(t, 201, p.try("o-3", 1))
		p.await(func() string { return p.ledger("o-3") }, "reserve 1, release 1", "ledger")
		assert.Equal(t, "7 0 3", levels())
	})
}

func TestConfirmIdempotent(t *testing.T) {
	withAndWithout(t, services.ConfirmIdempotent, func(t *testing.T, env map[string]string, sound bool) {
		s, url := startReservation(t, env)
		assert.Equal(t, 200, s.call(http.MethodPut, url, "", "").Status)
		assert.Equal(t, map[bool]int{true: 200, false: 404}[sound], s.call(http.MethodPut, url, "", "").Status)
		assert.Equal(t, "7 0 3", s.levels("apple"))
	})
}

func TestSettleOnce(t *testing.T) {
	withAndWithout(t, services.SettleOnce, func(t *testing.T, env map[string]string, sound bool) {
		s, url := startReservation(t, env)
		assert.Equal(t, 200, s.call(http.MethodPut, url, "", "").Status)
		assert.Equal(t, map[bool]int{true: 409, false: 204}[sound], s.call(http.MethodDelete, url, "", "").Status)
		status := s.one(s.stock, `select status from reservations where reservation_id = $1`, url[strings.LastIndexByte(url, '/')+1:])
		assert.Equal(t, map[bool]string{true: stock.Confirmed, false: stock.Released}[sound], status)
	})
}

// startReservation starts a stock service with a reservation of three apples of ten, and returns its URL.
func startReservation(t *testing.T, env map[string]string) (*stack, string) {
	env["RESERVATION_TTL"] = "10m"
	s := newStack(t, env)
	s.seed("apple", 10)
	s.startStock()
	s.awaitReady(s.stockURL)
	made := s.call(http.MethodPost, s.stockURL+"/api/v1/stocks", "", `{"productId":"apple","qty":3}`)
	return s, s.stockURL + "/api/v1/stocks/" + made.text("reservationId")
}
