package report

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/ordeal-chaos/ordeal/harness/check"
	"github.com/ordeal-chaos/ordeal/harness/history"
)

// fixture is a run with one scenario of each outcome.
func fixture() Run {
	return Run{
		Verdict: check.Fail, Seed: 42, Backend: "embedded",
		Versions: map[string]string{"postgres": "17.5", "broker": "kfake 2026-09-18"},
		Repeat:   "ordeal run --seed 42 --without inbox-dedup",
		Started:  time.Date(2026, 11, 23, 15, 20, 0, 0, time.UTC), Seconds: 31.25,
		Scenarios: []Scenario{passing(), failing(), inconclusive(), broken()},
		LeftOut:   []LeftOut{{"--backend containers --brokers 3", []string{"leader-killed", "min-isr-lost"}}},
		Notes:     []string{"no scenario of this run exposes the lack of acks-all"},
	}
}

func passing() Scenario {
	return Scenario{
		Name: "broker-outage", Design: "outbox", Verdict: check.Pass, Seconds: 7.4,
		About:      "One of three brokers refuses connections for three seconds while orders are placed.",
		Operations: 400, Acknowledged: 396,
		Guarantees: []Guarantee{
			{ID: "I19", Name: "faults-bit", Statement: "Every fault had a measured effect.", Verdict: check.Pass, Examined: 1},
			{ID: "I1", Name: "stock-never-negative", Statement: "No committed row version has negative stock.", Verdict: check.Pass, Examined: 1204},
			{ID: "I14", Name: "dead-letters-complete", Statement: "Every exhausted failure is in the dead-letter topic.", Skipped: true, Reason: "not exercised"},
		},
		Faults: []Fault{{
			Name: "down", Link: "order->kafka-1", InjectedMS: 2003, HealedMS: 5011, Bit: true,
			Evidence: "41 connections refused, 3 reset, 0 of 18211 offered bytes delivered",
		}},
		Phases: []Phase{{history.Baseline, 0}, {history.Faults, 1500}, {history.Heal, 5011}, {history.Drain, 5200}, {history.End, 7300}},
		Sample: operations(400, 2003, 5011),
		Repeat: "ordeal run broker-outage --seed 42", History: "broker-outage/history.jsonl", Logs: "broker-outage/logs",
	}
}

func failing() Scenario {
	return Scenario{
		Name: "redelivery", Design: "outbox", Without: []string{"inbox-dedup"}, Verdict: check.Fail, Seconds: 9.02,
		About:      "The stock group is rewound, so that it reads its records again.",
		Operations: 200, Acknowledged: 200,
		Guarantees: []Guarantee{
			{ID: "I19", Name: "faults-bit", Statement: "Every fault had a measured effect.", Verdict: check.Pass, Examined: 2},
			{ID: "I7", Name: "effects-at-most-once", Statement: "Each event has at most one effect per consumer.", Verdict: check.Fail, Examined: 400},
			{ID: "I6", Name: "no-leaked-reservation", Statement: "A cancelled order holds no stock.", Verdict: check.Pass, Examined: 12},
		},
		Anomalies: []Anomaly{
			{
				Name: "double-effect", Guarantee: "effects-at-most-once", Subject: "order 7f3a-0042",
				Detail: "stock reserved 2 units of sku-1 twice for event 9c1d, once is due",
				Story: []Moment{
					{1204 * time.Millisecond, "client c3", "place order 7f3a-0042: 2 × sku-1, key k-42"},
					{1209*time.Millisecond + 400*time.Microsecond, "orders.orders", "insert order_id=7f3a-0042, status=PENDING, version=1 (transaction 771, LSN 0/1A2B3C)"},
					{1231 * time.Millisecond, "order-events/3@17", "OrderPlaced for key 7f3a-0042, event 9c1d"},
					{1240 * time.Millisecond, "stock.stock_ledger", "insert entry_id=88, order_id=7f3a-0042, op=reserve, qty=2 (transaction 810, LSN 0/1A2C00)"},
					{3117 * time.Millisecond, "order-events/3", "fault redeliver injected"},
					{3466 * time.Millisecond, "stock.stock_ledger", "insert entry_id=131, order_id=7f3a-0042, op=reserve, qty=2 (transaction 902, LSN 0/1A3F58)"},
				},
			},
			{
				Name: "double-effect", Guarantee: "effects-at-most-once", Subject: "order 7f3a-0057",
				Detail: "stock reserved 1 unit of sku-4 twice for event a001, once is due",
			},
		},
		Faults: []Fault{
			{Name: "redeliver", Link: "order-events", InjectedMS: 3117, HealedMS: 3390, Bit: true, Evidence: "57 offsets delivered twice to group stock"},
			{Name: "latency", Link: "stock->postgres", InjectedMS: 2500, HealedMS: 6000, Bit: true, Evidence: "212 round trips, p50 103 ms inside, 0.4 ms outside"},
		},
		Phases: []Phase{{history.Baseline, 0}, {history.Faults, 2400}, {history.Heal, 6000}, {history.Drain, 6400}, {history.End, 9000}},
		Sample: operations(200, 2500, 6000),
		Repeat: "ordeal run redelivery --seed 42 --without inbox-dedup", History: "redelivery/history.jsonl", Logs: "redelivery/logs",
	}
}

func inconclusive() Scenario {
	return Scenario{
		Name: "idle-link", Design: "outbox", Verdict: check.Unknown, Seconds: 5.5,
		Operations: 120, Acknowledged: 120,
		Guarantees: []Guarantee{
			{ID: "I19", Name: "faults-bit", Statement: "Every fault had a measured effect.", Examined: 1, Reason: "latency on order->stock had no effect: 0 messages crossed the link in its window"},
			{ID: "I1", Name: "stock-never-negative", Statement: "No committed row version has negative stock.", Verdict: check.Pass, Examined: 360},
		},
		Faults:  []Fault{{Name: "latency", Link: "order->stock", InjectedMS: 1500, HealedMS: -1, Evidence: "0 messages crossed the link in its window"}},
		Reasons: []string{"faults-bit: latency on order->stock had no effect: 0 messages crossed the link in its window"},
		Phases:  []Phase{{history.Baseline, 0}, {history.Faults, 1400}, {history.Heal, 3500}, {history.End, 5400}},
		Repeat:  "ordeal run idle-link --seed 42", History: "idle-link/history.jsonl", Logs: "idle-link/logs",
	}
}

func broken() Scenario {
	return Scenario{
		Name: "postgres-crash", Design: "outbox", Verdict: check.Unknown, Seconds: 20,
		Error:  "start service stock: not ready within 20s; its last lines:\n\tlisten tcp 127.0.0.1:8080: address already in use\n\texit status 1",
		Repeat: "ordeal run postgres-crash --seed 42", Logs: "postgres-crash/logs",
	}
}

// operations is a workload whose answers get slow, and some unknown, from from to until.
func operations(n int, from, until int64) []Operation {
	random := rand.New(rand.NewPCG(1, 2))
	var ops []Operation
	for i := range n {
		op := Operation{AtMS: int64(200 + i*6000/n), Outcome: history.OK, TookMS: 2 * math.Exp(random.NormFloat64()*0.4)}
		if op.AtMS > from && op.AtMS < until {
			op.TookMS *= 40
			if i%17 == 0 {
				op.Outcome, op.TookMS = history.Info, 1000
			}
			if i%41 == 0 {
				op.Outcome, op.TookMS = history.Fail, 5
			}
		}
		op.TookMS = math.Round(op.TookMS*1000) / 1000
		ops = append(ops, op)
	}
	return ops
}
