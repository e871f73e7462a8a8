package stock

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/app"
	"github.com/ordeal-chaos/ordeal/services/internal/db"
	"github.com/ordeal-chaos/ordeal/services/internal/events"
	"github.com/ordeal-chaos/ordeal/services/internal/guard"
)

// intentGrace is how old an intent must be to be taken for one whose process died: longer than a transaction lives.
const intentGrace = 2500 * time.Millisecond

// errVoided is that of a transaction that was taken for dead, and whose intent was undone: it must begin again.
var errVoided = errors.New("the intent was given up")

// redisCounter takes stock in Redis, where a script does so for all lines at once, and lets the database follow. What a
// transaction intends is written down in Redis together with the take, or before the give, and struck out when the
// transaction ended: what it took is given back when it rolled back, and what it gives is added when it committed. An
// intent whose process died is looked up in the database, which has a row for each that committed.
//
// Counts that Redis lost are filled again from the database. What was under way at that moment may then be missing.
type redisCounter struct {
	counts *counts
	db     *db.DB
	guards *guard.Set
	log    *slog.Logger
	every  time.Duration
}

func newRedisCounter(core app.Core) *redisCounter {
	return &redisCounter{
		counts: newCounts(core.Config.RedisAddr), db: core.DB, guards: core.Guards, log: core.Log, every: core.Config.SweepInterval,
	}
}

func (*redisCounter) enter(context.Context, *db.Tx, *pgx.Batch) {}

func (c *redisCounter) take(ctx context.Context, tx *db.Tx, batch *pgx.Batch, lines []events.Line) error {
	in := newIntent(kindTake, lines)
	err := c.takeCount(ctx, in)
	if _, short := errors.AsType[*shortage](err); short {
		return err
	}
	tx.OnEnd(c.ended(in)) // also after an error: the script may have run
	if err != nil {
		return err
	}
	queueIntent(batch, in)
	for _, line := range lines {
		batch.Queue(`update stock set available = available - $2, reserved = reserved + $2, version = version + 1
			where product_id = $1`, line.ProductID, line.Qty)
	}
	return tx.Send(ctx, batch)
}

// takeCount takes all lines in Redis, or none and fails with a shortage. Counts that are not there are filled.
func (c *redisCounter) takeCount(ctx context.Context, in intent) error {
	for {
		short, missing, err := c.counts.take(ctx, in)
		switch {
		case err != nil:
			return fmt.Errorf("take in redis: %w", err)
		case missing != nil:
			if err := c.fill(ctx, *missing); err != nil {
				return err
			}
		case short != nil:
			return &shortage{*short}
		default:
			return nil
		}
	}
}

// fill gives a product its count, unless it has one by now.
func (c *redisCounter) fill(ctx context.Context, line events.Line) error {
	levels, batch := map[string]*stockRow{}, &pgx.Batch{}
	queueRead(batch, levels, []events.Line{line}, "")
	if err := c.db.Read(ctx, batch); err != nil {
		return err
	}
	if err := c.counts.fill(ctx, line.ProductID, levels[line.ProductID].available); err != nil {
		return fmt.Errorf("fill redis: %w", err)
	}
	return nil
}

func (c *redisCounter) settle(ctx context.Context, tx *db.Tx, batch *pgx.Batch, m move) error {
	if m.op == opRelease {
		in := newIntent(kindGive, m.lines)
		tx.OnEnd(c.ended(in))
		if err := c.counts.note(ctx, in); err != nil {
			return fmt.Errorf("note in redis: %w", err)
		}
		queueIntent(batch, in)
	}
	return relative{}.settle(ctx, tx, batch, m)
}

// queueIntent adds to a batch what says that the intent's transaction committed.
func queueIntent(batch *pgx.Batch, in intent) {
	batch.Queue(`insert into cache_intents (intent_id, committed) values ($1, true) on conflict do nothing`, in.id).
		Exec(func(tag pgconn.CommandTag) error {
			if tag.RowsAffected() == 0 {
				return errVoided
			}
			return nil
		})
}

// ended returns what strikes out an intent when its transaction has ended.
func (c *redisCounter) ended(in intent) func(context.Context, error) {
	return func(ctx context.Context, err error) {
		if errors.Is(err, db.ErrOutcomeUnknown) {
			return // the database will tell
		}
		adds := in.adds(err == nil)
		if err != nil && adds && c.guards.Lacks(services.CacheUndo) {
			adds = false
		}
		if err := c.counts.strike(ctx, in, adds); err != nil {
			c.log.Warn("strike out intent", "intent", in.id, "error", err)
		}
	}
}

func (c *redisCounter) loops() []app.Loop {
	return []app.Loop{{Name: "reconcile cache", Every: c.every, Do: c.reconcile}}
}

// reconcile strikes out what processes left behind that died, or that could not reach Redis or the database.
func (c *redisCounter) reconcile(ctx context.Context) error {
	open, err := c.counts.open(ctx)
	if err != nil {
		return fmt.Errorf("list intents: %w", err)
	}
	var errs []error
	for _, in := range open {
		if time.Since(in.at()) < intentGrace {
			continue
		}
		committed, err := c.decide(ctx, in)
		if err == nil {
			err = c.counts.strike(ctx, in, in.adds(committed))
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// decide says whether the transaction of an intent committed. One that did not cannot do so any more: its row is taken.
func (c *redisCounter) decide(ctx context.Context, in intent) (committed bool, err error) {
	err = c.db.Transact(ctx, func(ctx context.Context, tx *db.Tx) error {
		batch := tx.Batch()
		batch.Queue(`insert into cache_intents (intent_id, committed) values ($1, false) on conflict do nothing`, in.id)
		batch.Queue(`select committed from cache_intents where intent_id = $1`, in.id).
			QueryRow(func(row pgx.Row) error { return row.Scan(&committed) })
		return tx.Send(ctx, batch)
	})
	return committed, err
}

// Kinds of intents.
const (
	kindTake = "take"
	kindGive = "give"
)

// intent is a change of counts that belongs to a transaction. The exported fields are what Redis keeps of it.
type intent struct {
	Kind  string        `json:"kind"`
	Lines []events.Line `json:"lines"`
	Since int64         `json:"since"` // in milliseconds
	id    string
}

func newIntent(kind string, lines []events.Line) intent {
	return intent{Kind: kind, Lines: lines, Since: time.Now().UnixMilli(), id: events.NewID()}
}

func (in intent) at() time.Time { return time.UnixMilli(in.Since) }

// adds says whether the intent's lines are added to the counts when its transaction has ended so.
func (in intent) adds(committed bool) bool { return (in.Kind == kindGive) == committed }

func (in intent) record() string {
	record, err := json.Marshal(in)
	if err != nil {
		panic(err) // strings and integers always encode
	}
	return string(record)
}
