package observe

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// sourceTimeout bounds one question of a drain: a source that takes longer is itself what is open.
const sourceTimeout = 2 * time.Second

// Behind is a [Source]: it names the tap when it does not pass a marker.
func (w *WAL) Behind(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, sourceTimeout)
	defer cancel()
	return nil, w.CatchUp(ctx)
}

// Count is a [Source]: it runs a query that counts in the tapped database, and names what was counted
// unless the count is zero: Count("orders PENDING", "SELECT count(*) FROM orders WHERE status = 'PENDING'").
func (w *WAL) Count(what, sql string) Source {
	return func(ctx context.Context) ([]string, error) {
		ctx, cancel := context.WithTimeout(ctx, sourceTimeout)
		defer cancel()
		var n int64
		err := w.session(ctx, func(conn *pgconn.PgConn) error {
			return query(ctx, conn, sql, func(row history.Columns) (err error) {
				for _, value := range row {
					n, err = strconv.ParseInt(value, 10, 64)
				}
				return err
			})
		})
		if err != nil {
			return nil, fmt.Errorf("count %s: %w", what, err)
		}
		if n == 0 {
			return nil, nil
		}
		return []string{fmt.Sprintf("%d %s", n, what)}, nil
	}
}

// Behind is a [Source]: it names a partition that the tap has not read to its end, and partitions with
// an open transaction.
func (t *Topics) Behind(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, sourceTimeout)
	defer cancel()
	if err := t.CatchUp(ctx); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var open []string
	for topic, partitions := range t.partitions {
		for number, p := range partitions {
			if len(p.open) > 0 {
				open = append(open, fmt.Sprintf("transaction open in %s/%d", topic, number))
			}
		}
	}
	slices.Sort(open)
	return open, nil
}

// Unconsumed is a [Source]: it names every partition in which a group has not committed up to the last
// record that it is shown.
func (t *Topics) Unconsumed(groups []Group) Source {
	return func(ctx context.Context) ([]string, error) {
		ctx, cancel := context.WithTimeout(ctx, sourceTimeout)
		defer cancel()
		lags, err := t.Groups(ctx, groups)
		if err != nil {
			return nil, err
		}
		var open []string
		for _, lag := range lags {
			// What a broker lost cannot be consumed any more.
			if end := min(t.VisibleEnd(lag.Topic, lag.Partition), lag.End); !lag.Done(end) {
				open = append(open, fmt.Sprintf("group %s is at offset %d of %d in %s/%d", lag.Group, max(lag.Committed, lag.Start), end, lag.Topic, lag.Partition))
			}
		}
		return open, nil
	}
}
