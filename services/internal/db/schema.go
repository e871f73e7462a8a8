package db

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// schemaLock is the advisory lock under which replicas that start together create the tables.
const schemaLock = 7_246_001

// ApplySchema runs the statements of schema unless the outbox table is there: the schema is applied whole, in one
// transaction. Looking first keeps a restart from waiting for the table locks of CREATE … IF NOT EXISTS.
func (db *DB) ApplySchema(ctx context.Context, schema string) error {
	conn, err := db.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("acquire connection: %w", err)
	}
	defer conn.Release()
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock($1)", schemaLock); err != nil {
			return err
		}
		var present bool
		if err := tx.QueryRow(ctx, "select to_regclass('outbox') is not null").Scan(&present); err != nil || present {
			return err
		}
		_, err := tx.Exec(ctx, schema)
		return err
	})
	if err != nil {
		return fmt.Errorf("apply schema: %w", err)
	}
	return nil
}
