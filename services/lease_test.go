package services_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/services/internal/db"
	"github.com/ordeal-chaos/ordeal/services/internal/events"
)

// TestOneRelayAtATime holds the lock of the relay as another replica would.
func TestOneRelayAtATime(t *testing.T) {
	s := newStack(t, nil)
	s.startOrder()
	s.awaitReady(s.orderURL)
	ctx := context.Background()
	tx, err := s.orders.Begin(ctx)
	require.NoError(t, err)
	defer tx.Rollback(ctx)
	_, err = tx.Exec(ctx, `select pg_advisory_xact_lock(7246002)`)
	require.NoError(t, err)
	id := s.place(`{"productId":"apple","qty":3,"paymentAmt":1}`)
	published := func() string { return fmt.Sprint(len(s.eventsOf(events.OrderEvents, id, events.OrderPlaced))) }
	s.never(published, "1", 200*time.Millisecond)
	require.NoError(t, tx.Rollback(ctx))
	s.await(published, "1", "published events")
}

// TestIdleTransactionLosesItsLocks is what happens to the lease of a relay, and to the locks of a consumer, that is paused.
func TestIdleTransactionLosesItsLocks(t *testing.T) {
	s := newStack(t, nil)
	// Long enough to look at the lock while it is held.
	holder, err := db.Open(t.Context(), s.orders.Config().ConnString(), db.Options{Name: "holder", Timeout: patience, IdleTimeout: 2 * time.Second})
	require.NoError(t, err)
	defer holder.Close(t.Context())
	const lock = `select pg_try_advisory_xact_lock(1)::text`
	err = holder.Transact(t.Context(), func(ctx context.Context, tx *db.Tx) error {
		batch := tx.Batch()
		batch.Queue(lock)
		require.NoError(t, tx.Send(ctx, batch))
		assert.Equal(t, "false", s.one(s.orders, lock), "the lock is held")
		s.await(func() string { return s.one(s.orders, lock) }, "true", "lock after the pause")
		batch = tx.Batch()
		batch.Queue(`select 1`)
		return tx.Send(ctx, batch)
	})
	require.Error(t, err, "the holder learns it")
	assert.Equal(t, db.Unavailable, db.Classify(err))
}
