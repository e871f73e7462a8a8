// Package db owns access to Postgres: the pool, transactions that are sent in few round trips, the
// classes of their errors, and the schema.
package db

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	connectTimeout = time.Second
	// defaultTimeout bounds one transaction: a link that stalls must not hold a consumer or a client for ever.
	defaultTimeout = 2 * time.Second
)

// Options are what differs between the pools of one service.
type Options struct {
	Name        string        // application_name
	LockTimeout time.Duration // longest wait for a lock; 0 for no limit
	Timeout     time.Duration // bounds one transaction; 0 for 2 s
	// IdleTimeout is how long the server lets an open transaction idle before it ends the session, so that a
	// paused process loses its locks. 0 means Timeout.
	IdleTimeout time.Duration
	Connections int32 // 0 for 10
	// Unsynchronized answers COMMIT before it is on disk.
	Unsynchronized bool
}

// DB is a pool of connections to one database. It connects on demand, and again after every loss.
type DB struct {
	pool    *pgxpool.Pool
	timeout time.Duration
}

// Open prepares a pool for the database at url. It does not connect.
func Open(ctx context.Context, url string, options Options) (*DB, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("parse database url: %w", err)
	}
	if options.Timeout == 0 {
		options.Timeout = defaultTimeout
	}
	if options.IdleTimeout == 0 {
		options.IdleTimeout = options.Timeout
	}
	if options.Connections == 0 {
		options.Connections = 10
	}
	cfg.MaxConns = options.Connections
	cfg.ConnConfig.ConnectTimeout = connectTimeout
	// Settings travel in the startup message: they cost no round trip.
	settings := cfg.ConnConfig.RuntimeParams
	settings["application_name"] = options.Name
	settings["lock_timeout"] = milliseconds(options.LockTimeout)
	settings["statement_timeout"] = milliseconds(options.Timeout)
	settings["idle_in_transaction_session_timeout"] = milliseconds(options.IdleTimeout)
	if options.Unsynchronized {
		settings["synchronous_commit"] = "off"
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open pool: %w", err)
	}
	return &DB{pool: pool, timeout: options.Timeout}, nil
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// Ping asks the server for a sign of life.
func (db *DB) Ping(ctx context.Context) error { return db.pool.Ping(ctx) }

// Read sends a batch of queries that change nothing, outside of a transaction.
func (db *DB) Read(ctx context.Context, batch *pgx.Batch) error {
	ctx, cancel := context.WithTimeout(ctx, db.timeout)
	defer cancel()
	return db.pool.SendBatch(ctx, batch).Close()
}

// Close ends the pool. It waits for connections until ctx is done: one whose link is stalled can take long to close.
func (db *DB) Close(ctx context.Context) {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		db.pool.Close()
	}()
	select {
	case <-closed:
	case <-ctx.Done():
	}
}

// Connect opens one connection of its own to the database at url, for what a pool cannot do. The caller closes it.
func Connect(ctx context.Context, url, name string) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("parse database url: %w", err)
	}
	cfg.ConnectTimeout = connectTimeout
	cfg.RuntimeParams["application_name"] = name
	connection, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return connection, nil
}
