package db

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// ErrOutcomeUnknown is wrapped by the error of a transaction whose COMMIT was sent and not answered: it may
// have committed. Every other error of [DB.Transact] means that nothing was committed.
var ErrOutcomeUnknown = errors.New("outcome unknown")

const rollbackTimeout = 500 * time.Millisecond

// Tx is one transaction. Its statements are sent in batches, the first of which carries BEGIN; COMMIT is a message of its own.
type Tx struct {
	conn         *pgxpool.Conn
	tx           pgx.Tx
	first        func(*pgx.Batch) // may be nil
	beforeCommit []func(context.Context) error
	afterCommit  []func(context.Context)
	ended        []func(context.Context, error)
}

type firstKey struct{}

// First makes queue add the first statements of every transaction that is begun with the context it returns.
func First(ctx context.Context, queue func(*pgx.Batch)) context.Context {
	return context.WithValue(ctx, firstKey{}, queue)
}

// Transact runs work in one transaction on one connection and commits it when work returns nil, within the time
// limit of the pool. The error is that of work, or of the commit.
func (db *DB) Transact(ctx context.Context, work func(context.Context, *Tx) error) error {
	bounded, cancel := context.WithTimeout(ctx, db.timeout)
	defer cancel()
	conn, err := db.pool.Acquire(bounded)
	if err != nil {
		return fmt.Errorf("acquire connection: %w", err)
	}
	tx := &Tx{conn: conn}
	tx.first, _ = ctx.Value(firstKey{}).(func(*pgx.Batch))
	err = tx.run(bounded, work)
	conn.Release()
	for _, hook := range tx.ended {
		hook(context.WithoutCancel(ctx), err)
	}
	if err != nil {
		return err
	}
	for _, hook := range tx.afterCommit {
		hook(ctx)
	}
	return nil
}

func (tx *Tx) run(ctx context.Context, work func(context.Context, *Tx) error) error {
	if err := work(ctx, tx); err != nil {
		tx.rollback()
		return err
	}
	for _, hook := range tx.beforeCommit {
		if err := hook(ctx); err != nil {
			tx.rollback()
			return err
		}
	}
	if tx.tx == nil {
		return nil // nothing was sent
	}
	err := tx.tx.Commit(ctx)
	if errors.Is(err, pgx.ErrTxCommitRollback) {
		return fmt.Errorf("commit: %w", err) // the server said that it rolled back
	}
	if err != nil {
		return fmt.Errorf("commit: %w: %w", ErrOutcomeUnknown, err)
	}
	return nil
}

// rollback ends the transaction. When it cannot, the connection is broken and the server rolls back by itself.
func (tx *Tx) rollback() {
	if tx.tx == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), rollbackTimeout)
	defer cancel()
	_ = tx.tx.Rollback(ctx) // see above
}

// Batch returns an empty batch for Send.
func (tx *Tx) Batch() *pgx.Batch {
	batch := &pgx.Batch{}
	if tx.tx == nil {
		batch.BeginTx(pgx.TxOptions{})
		if tx.first != nil {
			tx.first(batch)
		}
	}
	return batch
}

// Send sends a batch in one round trip and runs the callbacks of its queries, in order, up to the first error, which
// it returns.
func (tx *Tx) Send(ctx context.Context, batch *pgx.Batch) error {
	results := tx.conn.SendBatch(ctx, batch)
	if tx.tx == nil {
		tx.tx = results.Tx()
	}
	return results.Close()
}

// BeforeCommit makes hook run when all work is done and before COMMIT is sent. Its error rolls back.
func (tx *Tx) BeforeCommit(hook func(context.Context) error) {
	tx.beforeCommit = append(tx.beforeCommit, hook)
}

// AfterCommit makes hook run once COMMIT was answered.
func (tx *Tx) AfterCommit(hook func(context.Context)) {
	tx.afterCommit = append(tx.afterCommit, hook)
}

// OnEnd makes hook run when the transaction has ended, however it did: its error is that of [DB.Transact]. The context
// has no end; the hook must bound what it does.
func (tx *Tx) OnEnd(hook func(context.Context, error)) {
	tx.ended = append(tx.ended, hook)
}
