package observe

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// load inserts rows into items from several connections, each row a transaction of its own.
type load struct {
	cancel  context.CancelFunc
	running sync.WaitGroup
	next    atomic.Int64

	mu    sync.Mutex
	acked []int64
}

func startLoad(t testing.TB, p *postgres, connections int, every time.Duration) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{cancel: cancel}
	t.Cleanup(func() { l.finish() })
	for range connections {
		l.running.Go(func() {
			for ctx.Err() == nil {
				l.insert(ctx, p, every)
				pause(ctx, 5*time.Millisecond) // the server is down
			}
		})
	}
	return l
}

// insert inserts until the connection is lost. What was in flight then may or may not be committed.
func (l *load) insert(ctx context.Context, p *postgres, every time.Duration) {
	conn, err := p.connect(ctx, "shop")
	if err != nil {
		return
	}
	defer conn.Close(context.Background())
	for ctx.Err() == nil {
		id := l.next.Add(1)
		// Not the load's context: a statement that is cut off by the end of the load is not a lost one.
		if _, err := conn.Exec(context.Background(), "INSERT INTO items VALUES ($1, 'load', 1)", id); err != nil {
			return
		}
		l.mu.Lock()
		l.acked = append(l.acked, id)
		l.mu.Unlock()
		if every > 0 {
			pause(ctx, every)
		}
	}
}

// finish ends the load, and returns the ids of the rows whose commit was acknowledged.
func (l *load) finish() []int64 {
	l.cancel()
	l.running.Wait()
	return l.acked
}

func awaitRows(t testing.TB, tap *WAL, rows int64) {
	t.Helper()
	require.Eventually(t, func() bool { return tap.recorded() >= rows }, patience, time.Millisecond)
}

// BenchmarkWALTap commits b.N transactions of one row each on 8 connections, at a steady rate and as fast
// as the machine can, and says how long after the last commit was acknowledged the tap had recorded all
// of them. Flat out, the server's own decoding has to share the cores with the load.
func BenchmarkWALTap(b *testing.B) {
	b.Run("5k-a-second", func(b *testing.B) { benchmarkWALTap(b, 200*time.Microsecond) })
	b.Run("flat-out", func(b *testing.B) { benchmarkWALTap(b, 0) })
}

func benchmarkWALTap(b *testing.B, every time.Duration) {
	p, j := startPostgres(b), newJournal(b)
	p.prepare(b, itemsSQL)
	tap := p.tap(b, j)
	b.ResetTimer()
	began := time.Now()
	var running sync.WaitGroup
	var next atomic.Int64
	for range 8 {
		running.Go(func() {
			conn, err := p.connect(context.Background(), "shop")
			require.NoError(b, err)
			defer conn.Close(context.Background())
			for id := next.Add(1); id <= int64(b.N); id = next.Add(1) {
				time.Sleep(time.Until(began.Add(time.Duration(id) * every)))
				_, err := conn.Exec(context.Background(), "INSERT INTO items VALUES ($1, 'load', 1)", id)
				require.NoError(b, err)
			}
		})
	}
	running.Wait()
	b.StopTimer()
	last := time.Now()
	for tap.recorded() < int64(b.N) && time.Since(last) < patience {
		time.Sleep(100 * time.Microsecond)
	}
	require.EqualValues(b, b.N, tap.recorded(), "a commit was missed")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tx/s")
	b.ReportMetric(float64(time.Since(last).Microseconds())/1000, "ms-behind-last")
}
