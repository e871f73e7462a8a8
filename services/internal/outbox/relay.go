package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/broker"
	"github.com/ordeal-chaos/ordeal/services/internal/db"
)

const (
	// relayLock is the advisory lock that one relay among all replicas holds for a transaction.
	relayLock = 7_246_002
	pageSize  = 100

	// The lease is the relay's transaction. The server ends it when it idles, so that a paused holder loses it;
	// a holder that waits for a slow broker keeps it up.
	leaseTimeout = time.Second
	keepAlive    = 250 * time.Millisecond
	pageTimeout  = 10 * time.Second

	backoffMin = 20 * time.Millisecond
	backoffMax = 250 * time.Millisecond
)

// relay publishes outbox rows in the order of their ids within each partition, at least once. It looks for rows by
// their status and never by a cursor, so that a row that commits late is not skipped; and every failed produce
// is unknown, so its rows stay unpublished and are produced again.
type relay struct {
	publisher *Publisher
	db        *db.DB
	poll      time.Duration
}

// openRelay returns the relay of a publisher for the outbox in its database.
func openRelay(ctx context.Context, publisher *Publisher) (*relay, error) {
	own, err := db.Open(ctx, publisher.DatabaseURL, db.Options{
		Name: publisher.Instance + " relay", Timeout: pageTimeout, IdleTimeout: leaseTimeout, Connections: 1,
		Unsynchronized: publisher.Guards.Lacks(services.SynchronousCommit),
	})
	if err != nil {
		return nil, err
	}
	return &relay{publisher: publisher, db: own, poll: publisher.Poll}, nil
}

// add inserts the message into the outbox.
func (r *relay) add(tx *db.Tx, batch *pgx.Batch, eventID string, m broker.Message) {
	insert(batch, eventID, m)
	tx.AfterCommit(func(context.Context) { r.publisher.wakeRelay() })
}

func (r *relay) close(ctx context.Context) { r.db.Close(ctx) }

func (r *relay) run(ctx context.Context) { r.loop(ctx, r.pass) }

// loop looks for rows whenever it is woken, at every poll, and soon after a failure, until ctx is done.
func (r *relay) loop(ctx context.Context, pass func(context.Context) error) {
	backoff := backoffMin
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.publisher.wake:
		case <-timer.C:
		}
		err := pass(ctx)
		switch {
		case err == nil:
			backoff = backoffMin
			timer.Reset(r.poll)
		case ctx.Err() == nil:
			r.log().Warn("relay outbox", "error", err)
			// A wake-up must not turn an outage into a busy loop.
			timer.Reset(backoff)
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
			backoff = min(2*backoff, backoffMax)
			timer.Reset(0)
		}
	}
}

func (r *relay) log() *slog.Logger { return r.publisher.Log }

// target is one partition of a topic.
type target struct {
	topic     string
	partition int32
}

// pass goes through the unpublished rows once, a page and a transaction at a time. A partition that failed is
// left out of the rest of the pass: its later rows must not overtake, and its backlog must not hold up the others.
func (r *relay) pass(ctx context.Context) error {
	failed := map[target]error{}
	for after := int64(0); ; {
		last, err := r.page(ctx, after, failed)
		if err != nil {
			return err
		}
		if last == 0 {
			break
		}
		after = last
	}
	var errs []error
	for _, err := range failed {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// errIdle rolls back a page that has nothing to write.
var errIdle = errors.New("nothing to publish")

// page publishes the first page of rows after an id, and returns the page's last id, or 0 when there is no further page.
func (r *relay) page(ctx context.Context, after int64, failed map[target]error) (last int64, err error) {
	err = r.db.Transact(ctx, func(ctx context.Context, tx *db.Tx) error {
		rows, err := r.lease(ctx, tx, after)
		if err != nil {
			return err
		}
		if len(rows) == pageSize {
			last = rows[len(rows)-1].id
		}
		if len(rows) > 0 && r.publisher.Guards.Lacks(services.MarkAfterAck) {
			tx.AfterCommit(func(ctx context.Context) { r.hope(ctx, rows, failed) })
			return mark(ctx, tx, ids(rows))
		}
		published, err := r.produce(ctx, tx, rows, failed)
		if err != nil {
			return err
		}
		if len(published) == 0 {
			return errIdle
		}
		return mark(ctx, tx, published)
	})
	if err != nil && !errors.Is(err, errIdle) {
		return 0, err
	}
	return last, nil
}

// mark marks rows as published.
func mark(ctx context.Context, tx *db.Tx, published []int64) error {
	batch := tx.Batch()
	batch.Queue(`update outbox set published_at = clock_timestamp() where id = any($1)`, published)
	return tx.Send(ctx, batch)
}

func ids(rows []row) []int64 {
	list := make([]int64, len(rows))
	for i, row := range rows {
		list[i] = row.id
	}
	return list
}

// hope produces rows that are marked already: what is not acknowledged is lost.
func (r *relay) hope(ctx context.Context, rows []row, failed map[target]error) {
	if _, err := r.produce(ctx, nil, rows, failed); err != nil {
		r.log().Warn("produce rows that were marked", "error", err)
	}
}

// lease takes the lock for the transaction and reads a page of unpublished rows. Without the lock there are none.
// The rows are read by a later statement than the lock, and so see what the lock's last holder marked.
func (r *relay) lease(ctx context.Context, tx *db.Tx, after int64) ([]row, error) {
	var held bool
	var page []row
	batch := tx.Batch()
	locks := ""
	if r.publisher.Guards.Lacks(services.RelayLock) {
		// One lock for each row: each relay takes what the others have not.
		held, locks = true, ` for update skip locked`
	} else {
		lock(batch, &held)
	}
	batch.Queue(selectRows+`where published_at is null and id > $1 order by id limit $2`+locks, after, pageSize).Query(collect(&page))
	if err := tx.Send(ctx, batch); err != nil {
		return nil, fmt.Errorf("read outbox: %w", err)
	}
	if !held {
		return nil, nil
	}
	return page, nil
}

// lock queues the attempt to take the outbox for the transaction.
func lock(batch *pgx.Batch, held *bool) {
	batch.Queue(`select pg_try_advisory_xact_lock($1)`, relayLock).QueryRow(func(row pgx.Row) error { return row.Scan(held) })
}

// selectRows begins the queries that scan reads.
const selectRows = `select id, topic, partition, key, raw_key, headers, payload from outbox `

// collect appends the rows of a query that begins with selectRows.
func collect(page *[]row) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		for rows.Next() {
			r, err := scan(rows)
			if err != nil {
				return err
			}
			*page = append(*page, r)
		}
		return nil
	}
}

// produce produces rows, in order within each partition, and returns the ids of those that were acknowledged. The
// partitions that were not are added to failed. The error is about the lease.
func (r *relay) produce(ctx context.Context, tx *db.Tx, rows []row, failed map[target]error) ([]int64, error) {
	var published []int64
	err := keepLease(ctx, tx, func() { published = r.publisher.produceRows(ctx, rows, failed) })
	return published, err
}

// produceRows produces rows, in order within each partition and side by side, and returns the ids of those that were
// acknowledged, sorted. The partitions that were not are added to failed; those that are in it are left out.
func (p *Publisher) produceRows(ctx context.Context, rows []row, failed map[target]error) []int64 {
	parts := map[target][]row{}
	for _, row := range rows {
		partition, err := p.Producer.PartitionFor(ctx, row.message)
		t := target{row.message.Topic, partition}
		if err != nil {
			t.partition = -1
			failed[t] = err
		}
		if failed[t] == nil {
			parts[t] = append(parts[t], row)
		}
	}
	var (
		mu        sync.Mutex
		published []int64
		producing sync.WaitGroup
	)
	for t, rows := range parts {
		producing.Go(func() {
			messages := make([]broker.Message, len(rows))
			for i, row := range rows {
				messages[i] = row.message
			}
			err := p.Producer.Produce(ctx, t.topic, t.partition, messages)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed[t] = err
				return
			}
			for _, row := range rows {
				published = append(published, row.id)
			}
		})
	}
	producing.Wait()
	slices.Sort(published)
	return published
}

// keepLease keeps the transaction, where there is one, from idling until work is done, which it awaits in any case.
func keepLease(ctx context.Context, tx *db.Tx, work func()) error {
	if tx == nil {
		work()
		return nil
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		work()
	}()
	ticker := time.NewTicker(keepAlive)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			return nil
		case <-ticker.C:
			batch := tx.Batch()
			batch.Queue(`select 1`)
			if err := tx.Send(ctx, batch); err != nil {
				<-done
				return fmt.Errorf("keep outbox lease: %w", err)
			}
		}
	}
}
