package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ordeal-chaos/ordeal/services/internal/broker"
	"github.com/ordeal-chaos/ordeal/services/internal/db"
)

const (
	publication = "outbox"
	// senderTimeout is when the server gives up a relay that is paused or cut off, and another may take the slot.
	senderTimeout = 5 * time.Second
	// gather is how long to wait for more committed rows before what there is is published.
	gather = 2 * time.Millisecond
	// report is how often the server hears from an idle relay.
	report = time.Second
)

// logical publishes outbox rows as they come out of the write-ahead log, in commit order, and deletes them once they are
// acknowledged. Only then is the position in the log confirmed, so that a crash publishes again. The server lets one
// replica at a time read the slot. A slot that had to be made anew sees nothing of before: what is still in the table then
// is published first.
type logical struct {
	publisher *Publisher
	db        *db.DB
	server    *pgconn.Config
	slot      string
}

func openLogical(ctx context.Context, publisher *Publisher) (*logical, error) {
	r, err := openRelay(ctx, publisher)
	if err != nil {
		return nil, err
	}
	server, err := pgconn.ParseConfig(publisher.DatabaseURL)
	if err != nil {
		return nil, fmt.Errorf("parse database url: %w", err)
	}
	server.ConnectTimeout = senderTimeout
	server.RuntimeParams["replication"] = "database"
	server.RuntimeParams["bytea_output"] = "hex"
	server.RuntimeParams["application_name"] = publisher.Instance + " relay"
	server.RuntimeParams["wal_sender_timeout"] = fmt.Sprint(senderTimeout.Milliseconds())
	// Slots of all databases share their names.
	return &logical{publisher: publisher, db: r.db, server: server, slot: "outbox_" + server.Database}, nil
}

func (l *logical) add(_ *db.Tx, batch *pgx.Batch, eventID string, m broker.Message) {
	insert(batch, eventID, m)
}

func (l *logical) close(ctx context.Context) { l.db.Close(ctx) }

func (l *logical) run(ctx context.Context) {
	for {
		err := l.session(ctx)
		if ctx.Err() != nil {
			return
		}
		var refused *pgconn.PgError
		if errors.As(err, &refused) && refused.Code == objectInUse {
			l.publisher.Log.Debug("another replica reads the slot")
		} else {
			l.publisher.Log.Warn("relay outbox", "error", err)
		}
		if !wait(ctx, backoffMax) {
			return
		}
	}
}

const (
	objectInUse     = "55006"
	duplicateObject = "42710"
)

// session reads the slot on one connection until that breaks.
func (l *logical) session(ctx context.Context) error {
	anew, err := l.lacksSlot(ctx)
	if err != nil {
		return err
	}
	connecting, cancel := context.WithTimeout(ctx, senderTimeout)
	defer cancel()
	connection, err := pgconn.ConnectConfig(connecting, l.server)
	if err != nil {
		return fmt.Errorf("open stream: %w", err)
	}
	defer func() { _ = connection.Conn().Close() }() // the server frees the slot when the connection is gone
	if anew {
		if err := l.makeSlot(connecting, connection); err != nil {
			return err
		}
	}
	err = pglogrepl.StartReplication(connecting, connection, l.slot, 0, pglogrepl.StartReplicationOptions{
		Mode:       pglogrepl.LogicalReplication,
		PluginArgs: []string{"proto_version '1'", fmt.Sprintf("publication_names '%s'", publication)},
	})
	if err != nil {
		return fmt.Errorf("start stream: %w", err)
	}
	s := &stream{logical: l, connection: connection, relations: map[uint32][]string{}}
	if err := s.rest(ctx); err != nil {
		return err
	}
	return s.follow(ctx)
}

// lacksSlot reports whether there is no slot.
func (l *logical) lacksSlot(ctx context.Context) (bool, error) {
	var there bool
	batch := &pgx.Batch{}
	batch.Queue(`select exists (select from pg_replication_slots where slot_name = $1)`, l.slot).QueryRow(func(row pgx.Row) error {
		return row.Scan(&there)
	})
	if err := l.db.Read(ctx, batch); err != nil {
		return false, fmt.Errorf("look for the slot: %w", err)
	}
	return !there, nil
}

// makeSlot makes the slot, having noted that the table is not published yet: whoever reads the slot first does that.
func (l *logical) makeSlot(ctx context.Context, connection *pgconn.PgConn) error {
	err := l.db.Transact(ctx, func(ctx context.Context, tx *db.Tx) error {
		batch := tx.Batch()
		batch.Queue(`select pg_advisory_xact_lock($1)`, relayLock)
		batch.Queue(`delete from outbox_slot where not exists (select from pg_replication_slots where slot_name = $1)`, l.slot)
		batch.Queue(`do $$ begin
			if not exists (select from pg_publication where pubname = '` + publication + `') then
				create publication ` + publication + ` for table outbox with (publish = 'insert');
			end if;
		end $$`)
		return tx.Send(ctx, batch)
	})
	if err != nil {
		return fmt.Errorf("prepare the slot: %w", err)
	}
	_, err = pglogrepl.CreateReplicationSlot(ctx, connection, l.slot, "pgoutput", pglogrepl.CreateReplicationSlotOptions{Mode: pglogrepl.LogicalReplication})
	var refused *pgconn.PgError
	if made := err == nil || errors.As(err, &refused) && refused.Code == duplicateObject; !made {
		return fmt.Errorf("make the slot: %w", err)
	}
	return nil
}

// wait waits for d, and returns false when ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
