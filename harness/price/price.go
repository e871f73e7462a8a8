// Package price owns what a design costs where nothing goes wrong: it puts a load on running services and says how
// fast, how late, and with how many commits, bytes and records orders were confirmed.
package price

import (
	"cmp"
	"slices"
	"time"
)

// Plan is the load that a design is measured with. The zero value is usable.
type Plan struct {
	// Warmup is the number of orders before each measurement; their times do not count. 0 means 100.
	Warmup int `json:"warmup"`
	// Orders arrive at Pace a second, whether or not earlier ones were answered. 0 means 500, at 50 a second.
	Orders int     `json:"orders"`
	Pace   float64 `json:"pace"`
	// Burst orders are placed by so many Clients, each of which places the next when the last was answered. 0
	// means 1500, by 16 clients.
	Burst   int `json:"burst"`
	Clients int `json:"clients"`
	// SKUs is the number of products, so many that orders rarely meet. 0 means 200. Lines of an order: 2.
	SKUs int `json:"skus"`
}

// WithDefaults is the plan with every field set.
func (p Plan) WithDefaults() Plan {
	p.Warmup = cmp.Or(p.Warmup, 100)
	p.Orders, p.Pace = cmp.Or(p.Orders, 500), cmp.Or(p.Pace, 50)
	p.Burst, p.Clients = cmp.Or(p.Burst, 1500), cmp.Or(p.Clients, 16)
	p.SKUs = cmp.Or(p.SKUs, 200)
	return p
}

// Loads are the plan's two loads.
func (p Plan) Loads() (pace, burst Load) {
	p = p.WithDefaults()
	common := Load{Warmup: p.Warmup, Clients: p.Clients, SKUs: p.SKUs}
	pace, burst = common, common
	pace.Orders, pace.Pace = p.Orders, p.Pace
	burst.Orders = p.Burst
	return pace, burst
}

// Load is one load.
type Load struct {
	Warmup, Orders int
	Pace           float64 // orders a second; 0: as many as the clients get answered
	Clients        int     // that place the warm-up's orders and, without a pace, the others
	SKUs           int
}

// Figures are what one design costs.
type Figures struct {
	// Paced is measured at the same pace for every design, one that none should find hard. The times to
	// confirmed and the costs per order are compared by it.
	Paced Phase `json:"paced"`
	// Saturated is measured with clients that never rest. Orders a second are compared by it.
	Saturated Phase `json:"saturated"`
}

// Phase is one load, measured on services that were started for it.
type Phase struct {
	// Placed counts the orders that were answered with success, the warm-up's among them; Refused the
	// requests that were not, which are not sent again.
	Placed  int `json:"placed"`
	Refused int `json:"refused"`
	// Confirmed counts the orders, the warm-up's among them, with a committed row CONFIRMED in the
	// write-ahead log.
	Confirmed int `json:"confirmed"`
	// Open is what never ended: "9 orders PENDING". A design that loses an order without any fault shows here.
	Open string `json:"open,omitempty"`
	// PerSecond is the rate at which orders were confirmed, by the times of their commits, without the warm-up's and
	// the first and the last tenth of the others.
	PerSecond float64 `json:"per_second"`
	// P50 and P99 are from the moment before the client sends the request to the commit of the row CONFIRMED, by the
	// commit's own time stamp in the write-ahead log, without the warm-up's.
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
	// Late is how much later than planned the client sent a paced request, at p99: more than a few milliseconds say that
	// the machine had other things to do, and that the times are not the design's.
	Late float64 `json:"late_p99_ms,omitempty"`
	// Per confirmed order, of all that happened from before the services start until nothing is open: the
	// services' start, warm-up and whatever they do every now and then are in it.
	Commits  float64 `json:"commits"`   // of database transactions, reading ones too (pg_stat_database.xact_commit), without the harness' own
	WALBytes float64 `json:"wal_bytes"` // pg_current_wal_lsn, all databases, wal_level logical, default replica identity
	Records  float64 `json:"records"`   // offsets taken in all topics: the events, dead letters, and a Kafka transaction's markers
}

// Sample is one order of a measurement.
type Sample struct {
	Sent      time.Time
	Confirmed time.Time
}

// timing fills in the rate and the times of a phase.
func (p *Phase) timing(samples []Sample) {
	var took []time.Duration
	var at []time.Time
	for _, s := range samples {
		took = append(took, s.Confirmed.Sub(s.Sent))
		at = append(at, s.Confirmed)
	}
	p.P50, p.P99 = milliseconds(Quantile(took, 0.50)), milliseconds(Quantile(took, 0.99))
	p.PerSecond = rate(at)
}

// busy is the lateness from which on the machine counts as busy.
const busy = 20.0

// Disturbed says that the machine had other things to do during the paced load.
func (f Figures) Disturbed() bool { return f.Paced.Late > busy }

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// Quantile is the smallest of the values that at least the share q of them does not exceed (nearest rank); 0 of none.
func Quantile(values []time.Duration, q float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	rank := int(q * float64(len(sorted)))
	if float64(rank) < q*float64(len(sorted)) {
		rank++
	}
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// rate is events a second, the first and last tenth left out; 0 of fewer than 20.
func rate(at []time.Time) float64 {
	if len(at) < 20 {
		return 0
	}
	slices.SortFunc(at, time.Time.Compare)
	first, last := len(at)/10, len(at)-len(at)/10-1
	return float64(last-first) / at[last].Sub(at[first]).Seconds()
}
