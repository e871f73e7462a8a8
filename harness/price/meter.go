package price

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
)

// Target is what is measured, and how to reach it past the services.
type Target struct {
	Databases []string // of the services, all on one server
	Topics    []string
	// Connect opens a connection to a database of that server; Maintenance is one that no service uses.
	Connect     func(ctx context.Context, database string) (*pgx.Conn, error)
	Maintenance string
	Kafka       *kadm.Client
	// Open counts unfinished work; all zero means that nothing is open. What does not change for Longest, which is
	// longer than any timer of the services, never ends.
	Open    []Query
	Longest time.Duration
	// Orders is the database with the table orders. Its pgoutput slot and publication were there before its
	// first row, and nobody reads them.
	Orders, Slot, Publication string
}

// Query counts something in one database.
type Query struct{ What, Database, Count string }

const (
	// loadTimeout bounds the load: a design that cannot bear it has no price.
	loadTimeout = 3 * time.Minute
	// settleTimeout is how long work may go on after the load, however it changes.
	settleTimeout = time.Minute
	// leaveTimeout is how long connections of services that were stopped may take to go.
	leaveTimeout = 30 * time.Second
)

// Meter measures one phase. Make it with [Begin] before the services start.
type Meter struct {
	target Target
	before reading
	asked  int64 // transactions of our own in the services' databases
}

// reading is what the counters say.
type reading struct{ commits, wal, records int64 }

// Begin reads the counters. No connection to the services' databases may be open.
func Begin(ctx context.Context, target Target) (*Meter, error) {
	m := &Meter{target: target}
	var err error
	if m.before, err = m.read(ctx); err != nil {
		return nil, fmt.Errorf("read counters: %w", err)
	}
	return m, nil
}

// Measure puts the load on the services, whose orders are placed at url, waits until nothing is open, stops the services
// with stop, and reads the counters again.
func (m *Meter) Measure(ctx context.Context, url string, load Load, stop func(context.Context) error) (Phase, error) {
	c := newClient(url, load.SKUs)
	defer c.close()
	warm := func(ctx context.Context) error { _, err := m.settle(ctx); return err }
	bounded, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	if err := c.run(bounded, load, warm); err != nil {
		return Phase{}, fmt.Errorf("put load on, %d of %d orders placed: %w", c.placed(), load.Warmup+load.Orders, err)
	}
	open, err := m.settle(ctx)
	if err != nil {
		return Phase{}, fmt.Errorf("wait for the end of all work: %w", err)
	}
	phase := Phase{Placed: c.placed(), Refused: int(c.refused.Load()), Open: open, Late: milliseconds(Quantile(c.late, 0.99))}
	skew, err := m.skew(ctx)
	if err != nil {
		return phase, err
	}
	// Backends report what they counted once a second at most, and all of it when they end.
	if err := stop(ctx); err != nil {
		return phase, fmt.Errorf("stop services: %w", err)
	}
	after, err := m.read(ctx)
	if err != nil {
		return phase, fmt.Errorf("read counters: %w", err)
	}
	confirmed, err := m.confirmed(ctx)
	if err != nil {
		return phase, fmt.Errorf("read confirmations from the write-ahead log: %w", err)
	}
	phase.Confirmed = len(confirmed)
	if phase.Confirmed == 0 {
		return phase, errors.New("not one order was confirmed")
	}
	var samples []Sample
	for order, at := range confirmed {
		var n int
		if _, err := fmt.Sscanf(order, "order-%d", &n); err != nil || n <= load.Warmup {
			continue
		}
		if sent, ok := c.sent[order]; ok {
			samples = append(samples, Sample{Sent: sent, Confirmed: at.Add(-skew)})
		}
	}
	phase.timing(samples)
	per := func(delta int64) float64 { return float64(delta) / float64(phase.Confirmed) }
	phase.Commits = per(after.commits - m.before.commits - m.asked)
	phase.WALBytes, phase.Records = per(after.wal-m.before.wal), per(after.records-m.before.records)
	return phase, nil
}

// read waits until nobody is connected to the services' databases, and reads the counters.
func (m *Meter) read(ctx context.Context) (reading, error) {
	var r reading
	conn, err := m.target.Connect(ctx, m.target.Maintenance)
	if err != nil {
		return r, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	err = await(ctx, leaveTimeout, func() (string, error) {
		var open int
		err := conn.QueryRow(ctx, `SELECT count(*) FROM pg_stat_activity WHERE datname = ANY($1)`, m.target.Databases).Scan(&open)
		return counted(open, "connections to the services' databases"), err
	})
	if err != nil {
		return r, err
	}
	err = conn.QueryRow(ctx, `SELECT coalesce(sum(xact_commit), 0)::bigint, (pg_current_wal_lsn() - '0/0')::bigint
		FROM pg_stat_database WHERE datname = ANY($1)`, m.target.Databases).Scan(&r.commits, &r.wal)
	if err != nil {
		return r, err
	}
	ends, err := m.target.Kafka.ListEndOffsets(ctx, m.target.Topics...)
	if err == nil {
		err = ends.Error()
	}
	ends.Each(func(o kadm.ListedOffset) { r.records += o.Offset })
	return r, err
}

// settle waits until nothing is open, or what is open does not change any more, which it returns.
func (m *Meter) settle(ctx context.Context) (open string, err error) {
	conns := map[string]*pgx.Conn{}
	defer func() {
		for _, conn := range conns {
			_ = conn.Close(context.WithoutCancel(ctx))
		}
	}()
	var since time.Time // it has not changed
	err = await(ctx, settleTimeout, func() (string, error) {
		now, err := m.open(ctx, conns)
		if err != nil {
			return "", err
		}
		if now != open || since.IsZero() {
			open, since = now, time.Now()
		}
		if time.Since(since) > m.target.Longest {
			return "", nil
		}
		return open, nil
	})
	return open, err
}

// open lists what is open now.
func (m *Meter) open(ctx context.Context, conns map[string]*pgx.Conn) (string, error) {
	var open []string
	for _, q := range m.target.Open {
		if conns[q.Database] == nil {
			conn, err := m.target.Connect(ctx, q.Database)
			if err != nil {
				return "", err
			}
			conns[q.Database] = conn
		}
		var n int
		m.asked++
		if err := conns[q.Database].QueryRow(ctx, q.Count, pgx.QueryExecModeSimpleProtocol).Scan(&n); err != nil {
			return "", fmt.Errorf("count %s: %w", q.What, err)
		}
		if n > 0 {
			open = append(open, counted(n, q.What))
		}
	}
	return strings.Join(open, ", "), nil
}

// skew is how far the server's clock is ahead of ours, by the quickest of some questions.
func (m *Meter) skew(ctx context.Context) (time.Duration, error) {
	conn, err := m.target.Connect(ctx, m.target.Maintenance)
	if err != nil {
		return 0, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	quickest, skew := time.Hour, time.Duration(0)
	for range 20 {
		var there time.Time
		began := time.Now()
		if err := conn.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&there); err != nil {
			return 0, fmt.Errorf("ask server for its time: %w", err)
		}
		if took := time.Since(began); took < quickest {
			quickest, skew = took, there.Sub(began.Add(took/2))
		}
	}
	return skew, nil
}

// await asks until nothing is open, 20 times a second. The error says what still was.
func await(ctx context.Context, limit time.Duration, ask func() (open string, err error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		open, err := ask()
		if err != nil || open == "" {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("still open after %s: %s: %w", limit, open, ctx.Err())
		case <-ticker.C:
		}
	}
}

func counted(n int, what string) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d %s", n, what)
}
