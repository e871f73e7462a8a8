package outbox

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/db"
)

// cursor publishes outbox rows from a persisted cursor on, and deletes what is behind it. A row's id says nothing about
// when it commits, and so the cursor counts transactions: it goes from one horizon to the next, the horizon being the
// oldest transaction that still runs. What is between two horizons is complete. It is published in the order of the ids,
// which are given out while the order's row is locked. A long transaction anywhere in the cluster stalls it, and so does a
// partition that takes nothing.
type cursor struct {
	*relay
	// halfway says that the cursor may be in the middle of a window, as it may be left by another replica.
	halfway bool
	// acknowledged rows are not produced again while another partition of their page fails.
	acknowledged map[int64]bool
}

func openCursor(ctx context.Context, publisher *Publisher) (*cursor, error) {
	r, err := openRelay(ctx, publisher)
	return &cursor{relay: r, halfway: true, acknowledged: map[int64]bool{}}, err
}

func (c *cursor) run(ctx context.Context) { c.loop(ctx, c.pass) }

// window is what the cursor reads: transactions from first on and before beyond, and of those the ids above a last one.
type window struct{ first, beyond string }

// The window goes on to where it was going, or else to the horizon.
const selectWindow = `
	with last as (
		select coalesce(max(first), '0') as first, coalesce(max(beyond), '0') as beyond, coalesce(max(last_id), 0) as id from outbox_cursor
	), at as (
		select first, case when beyond > first then beyond else pg_snapshot_xmin(pg_current_snapshot()) end as beyond, id as last_id from last
	)
	select outbox.id, topic, partition, key, raw_key, headers, payload, at.first::text, at.beyond::text
	from outbox, at where xid >= at.first and xid < at.beyond and outbox.id > at.last_id order by outbox.id limit $1`

// Without the horizon the cursor is the last id that was seen.
const selectAbove = `
	select id, topic, partition, key, raw_key, headers, payload, '0', '0'
	from outbox where id > (select coalesce(max(last_id), 0) from outbox_cursor) order by id limit $1`

const moveCursor = `insert into outbox_cursor (first, beyond, last_id) values ($1::text::xid8, $2::text::xid8, $3)
	on conflict (one) do update set first = excluded.first, beyond = excluded.beyond, last_id = excluded.last_id`

// pass publishes page after page until there is none.
func (c *cursor) pass(ctx context.Context) error {
	for {
		more := false
		err := c.db.Transact(ctx, func(ctx context.Context, tx *db.Tx) error {
			var err error
			more, err = c.page(ctx, tx)
			return err
		})
		if errors.Is(err, errIdle) {
			return nil
		}
		if err != nil || !more {
			return err
		}
	}
}

// page publishes the next page and moves the cursor behind it. It does not move while a row is not acknowledged.
func (c *cursor) page(ctx context.Context, tx *db.Tx) (more bool, err error) {
	var (
		held bool
		rows []row
		at   window
	)
	unbounded := c.publisher.Guards.Lacks(services.Horizon)
	query := selectWindow
	if unbounded {
		query = selectAbove
	}
	batch := tx.Batch()
	lock(batch, &held)
	batch.Queue(query, pageSize).Query(func(found pgx.Rows) error {
		for found.Next() {
			r, err := scan(found, &at.first, &at.beyond)
			if err != nil {
				return err
			}
			rows = append(rows, r)
		}
		return nil
	})
	if err := tx.Send(ctx, batch); err != nil {
		return false, fmt.Errorf("read outbox: %w", err)
	}
	switch {
	case !held || len(rows) == 0 && !c.halfway:
		return false, errIdle
	case len(rows) == 0: // the window ended with its last full page
		c.halfway = false
		batch := tx.Batch()
		batch.Queue(`update outbox_cursor set first = beyond, last_id = 0 where beyond > first`)
		return true, tx.Send(ctx, batch)
	}
	if err := c.publish(ctx, tx, rows); err != nil {
		return false, err
	}
	last := rows[len(rows)-1].id
	batch = tx.Batch()
	switch full := len(rows) == pageSize; {
	case unbounded:
		more = full
		batch.Queue(moveCursor, "0", "0", last)
		batch.Queue(`delete from outbox where id <= $1`, last)
	case full:
		more, c.halfway = true, true
		batch.Queue(moveCursor, at.first, at.beyond, last)
	default:
		c.halfway = false
		batch.Queue(moveCursor, at.beyond, at.beyond, 0)
		batch.Queue(`delete from outbox where xid < $1::text::xid8`, at.beyond)
	}
	return more, tx.Send(ctx, batch)
}

// publish produces the rows that were not acknowledged before, and fails when one is not.
func (c *cursor) publish(ctx context.Context, tx *db.Tx, rows []row) error {
	todo := slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return c.acknowledged[r.id] })
	failed := map[target]error{}
	published, err := c.produce(ctx, tx, todo, failed)
	for _, id := range published {
		c.acknowledged[id] = true
	}
	if err := errors.Join(append(slices.Collect(maps.Values(failed)), err)...); err != nil {
		return err
	}
	tx.AfterCommit(func(context.Context) { clear(c.acknowledged) })
	return nil
}
