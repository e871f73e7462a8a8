package harness

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/observe"
)

// traffic is the workload while it runs.
type traffic struct {
	plan   Checkout
	orders *observe.Client // through the link to the first service
	stocks *observe.Client // through the link to the service that reserves; nil without one
	random *rand.Rand      // used by the generator alone

	ctx    context.Context // of all clients; ends when the experiment is cancelled
	stop   chan struct{}
	group  sync.WaitGroup
	slots  chan struct{}
	placed atomic.Int64

	mu      sync.Mutex
	flying  int // operations in flight
	invoked int // operations ever begun
	marks   int
}

// lateness is when a confirmation comes that is meant to be too late.
const lateness = 2 * time.Second

// retries is how long a client goes on with one intent: longer than any outage of the catalogue.
const retries = 12 * time.Second

func newTraffic(plan Checkout, orders, stocks *observe.Client, random *rand.Rand) *traffic {
	return &traffic{plan: plan, orders: orders, stocks: stocks, random: random,
		stop: make(chan struct{}), slots: make(chan struct{}, plan.Clients)}
}

// start begins to offer operations, open loop: when all clients wait, an operation is left out.
func (t *traffic) start(ctx context.Context) {
	t.ctx = ctx
	t.group.Go(func() {
		ticker := time.NewTicker(time.Duration(float64(time.Second) / t.plan.Rate))
		defer ticker.Stop()
		for n := 1; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-t.stop:
				return
			case <-ticker.C:
			}
			operation := t.next(n)
			select {
			case t.slots <- struct{}{}:
				t.group.Go(func() { operation(ctx); <-t.slots })
			default:
			}
		}
	})
}

// finish ends the traffic once at least the planned number of orders was placed, and waits for the
// operations in flight.
func (t *traffic) finish(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	err := Await(bounded, fmt.Sprintf("%d orders placed", t.plan.Orders), func(context.Context) (bool, string, error) {
		placed := t.placed.Load()
		return placed >= int64(t.plan.Orders), fmt.Sprintf("%d", placed), nil
	})
	close(t.stop)
	t.group.Wait()
	return err
}

// next draws the n-th operation. All draws happen here, in order, so that a seed repeats them.
func (t *traffic) next(n int) func(context.Context) {
	lines := t.lines(t.random)
	fate, curiosity := t.random.Float64(), t.random.Float64()
	if t.stocks != nil && t.random.Float64() < t.plan.Reservations {
		return func(ctx context.Context) { t.reserve(ctx, n, lines, fate, curiosity) }
	}
	return func(ctx context.Context) { t.order(ctx, n, lines, fate < t.plan.Cancels, curiosity) }
}

func (t *traffic) lines(random *rand.Rand) []history.Line {
	lines := make([]history.Line, t.plan.Lines)
	for i, sku := range random.Perm(t.plan.SKUs)[:t.plan.Lines] {
		lines[i] = history.Line{SKU: skuName(sku), Qty: 1 + random.Int64N(t.plan.MaxQty)}
	}
	return lines
}

// amountOf is what an order of these lines costs: [Price] a unit.
func amountOf(lines []history.Line) int64 {
	var units int64
	for _, line := range lines {
		units += line.Qty
	}
	return units * Price
}

func skuName(i int) string { return fmt.Sprintf("sku-%03d", i+1) }

// order places an order, and then does what clients also do: cancel it, read it, send it again, or use
// its id for another order.
func (t *traffic) order(ctx context.Context, n int, lines []history.Line, cancel bool, curiosity float64) {
	request := observe.PlaceRequest{Key: fmt.Sprintf("key-%06d", n), Lines: lines, Amount: amountOf(lines), OmitOrder: t.plan.OmitOrder}
	if !t.plan.ServerIDs {
		request.Order = fmt.Sprintf("order-%06d", n)
	}
	client := fmt.Sprintf("client-%02d", n%t.plan.Clients)
	answer := t.place(ctx, client, request)
	if answer.Outcome != history.OK {
		return
	}
	one := t.orders.As(client)
	if cancel {
		t.count(func() { one.CancelOrder(ctx, answer.Order) })
	}
	t.count(func() {
		switch {
		case curiosity < 0.3:
			one.ReadOrder(ctx, answer.Order)
		case curiosity < 0.4:
			one.Place(ctx, request) // the same order again: same key, same answer
		case curiosity < 0.45 && request.Order != "":
			request.Key += "-reused" // another order under a used id: refused
			one.Place(ctx, request)
		}
	})
}

// recover places fresh orders after all faults are healed. Judging demands that each is acknowledged. It
// draws from a source of its own: how far the traffic got before depends on the machine.
func (t *traffic) recover(ctx context.Context, orders int, random *rand.Rand) {
	var group sync.WaitGroup
	for n := range orders {
		lines := t.lines(random)
		request := observe.PlaceRequest{Key: fmt.Sprintf("key-recovery-%d", n+1), Lines: lines, Amount: amountOf(lines)}
		if !t.plan.ServerIDs {
			request.Order = fmt.Sprintf("order-recovery-%d", n+1)
		}
		group.Go(func() { t.place(ctx, "client-recovery", request) })
	}
	group.Wait()
}

func (t *traffic) place(ctx context.Context, client string, request observe.PlaceRequest) observe.Answer {
	var answer observe.Answer
	bounded, cancel := context.WithTimeout(ctx, retries)
	defer cancel()
	t.count(func() { answer = t.orders.As(client).PlaceUntil(bounded, request) })
	t.placed.Add(1)
	return answer
}

// reserve tries a reservation over REST; about a third each is confirmed, cancelled, and abandoned to its
// expiry. Some calls come twice, and some confirmations come when it is too late.
func (t *traffic) reserve(ctx context.Context, n int, lines []history.Line, fate, curiosity float64) {
	client := t.stocks.As(fmt.Sprintf("client-%02d", n%t.plan.Clients))
	request := observe.ReserveRequest{Key: fmt.Sprintf("reserve-%06d", n), Lines: lines}
	var answer observe.Answer
	bounded, cancel := context.WithTimeout(ctx, retries)
	defer cancel()
	t.count(func() { answer = client.ReserveUntil(bounded, request) })
	if answer.Outcome != history.OK {
		return
	}
	settle, late := client.ReleaseReservation, false
	switch {
	case fate < 1.0/3:
		settle = client.ConfirmReservation
	case fate > 2.0/3 && curiosity < 0.5:
		settle, late = client.ConfirmReservation, true
	case fate > 2.0/3:
		return
	}
	if late && sleep(ctx, lateness) != nil {
		return
	}
	// What is confirmed in time may be cancelled afterwards, by a client that changed its mind too late.
	regrets := fate < t.plan.LateCancels/3
	t.count(func() {
		settle(ctx, answer.Reservation)
		switch {
		case late:
		case regrets:
			client.ReleaseReservation(ctx, answer.Reservation)
		case curiosity < 0.3:
			settle(ctx, answer.Reservation)
		case curiosity < 0.5:
			client.Reserve(ctx, request) // the same reservation again
		case curiosity < 0.7:
			client.ReadStock(ctx, lines[0].SKU)
		}
	})
}

// count keeps the number of operations in flight while fn runs.
func (t *traffic) count(fn func()) {
	t.mu.Lock()
	t.flying++
	t.invoked++
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		t.flying--
		t.mu.Unlock()
	}()
	fn()
}

// overlapping returns a function that counts the operations in flight at some time after this call.
func (t *traffic) overlapping() func() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.invoked - t.flying
	return func() int {
		t.mu.Lock()
		defer t.mu.Unlock()
		return t.invoked - before
	}
}

// marked is an order placed for a [Point]. Its id is empty where the service chooses it.
type marked struct{ key, order string }

func (m marked) is(token string) bool { return token == m.key || (m.order != "" && token == m.order) }

func (m marked) name() string {
	if m.order != "" {
		return m.order
	}
	return "with key " + m.key
}

func (t *traffic) mark() marked {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.marks++
	m := marked{key: fmt.Sprintf("key-marked-%d", t.marks)}
	if !t.plan.ServerIDs {
		m.order = fmt.Sprintf("order-marked-%d", t.marks)
	}
	return m
}

// placeMarked places a marked order in the background; finish awaits it.
func (t *traffic) placeMarked(m marked) {
	lines := []history.Line{{SKU: skuName(0), Qty: 1}, {SKU: skuName(1), Qty: 1}}[:min(2, t.plan.SKUs)]
	t.group.Go(func() {
		t.place(t.ctx, "client-marked", observe.PlaceRequest{
			Key: m.key, Order: m.order, Lines: lines, Amount: amountOf(lines), OmitOrder: t.plan.OmitOrder,
		})
	})
}

// reserveMarked makes a reservation in the background and confirms it under the marked key; finish awaits it.
func (t *traffic) reserveMarked(m marked) {
	t.group.Go(func() {
		bounded, cancel := context.WithTimeout(t.ctx, retries)
		defer cancel()
		client := t.stocks.As("client-marked")
		var answer observe.Answer
		t.count(func() {
			answer = client.ReserveUntil(bounded, observe.ReserveRequest{Key: m.key + "-reserve", Lines: []history.Line{{SKU: skuName(0), Qty: 1}}})
		})
		if answer.Outcome == history.OK {
			t.count(func() { client.ConfirmUntil(bounded, answer.Reservation, m.key) })
		}
	})
}

// close ends the traffic of an experiment that was cut short. It may follow finish.
func (t *traffic) close() {
	select {
	case <-t.stop:
	default:
		close(t.stop)
	}
	t.group.Wait()
}
