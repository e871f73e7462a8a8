package stock

import (
	"context"
	"errors"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/app"
	"github.com/ordeal-chaos/ordeal/services/internal/broker"
	"github.com/ordeal-chaos/ordeal/services/internal/db"
	"github.com/ordeal-chaos/ordeal/services/internal/events"
	"github.com/ordeal-chaos/ordeal/services/internal/guard"
)

// errFenced is that of a writer whose partition another owns by now. Trying again cannot help, and the broker will
// tell it soon; until then it waits.
var errFenced = errors.New("the partition has a later owner")

// singleWriter keeps the levels in memory and writes them as they are, without a look at what is there: all orders
// come over one partition, whose owner alone writes. What it has read stays true for as long as it owns the partition.
//
// The fence makes that so: every transaction first moves it to the generation of the group that made this process the
// owner, and fails if it is at a later one. Its row is locked until the transaction ends, so that a new owner waits for
// the last transaction of the one before, and reads what that wrote.
type singleWriter struct {
	guards *guard.Set

	mu      sync.Mutex
	owner   broker.Owner         // for which levels hold
	fenced  bool                 // a transaction of this owner has committed, so that no earlier owner's can any more
	levels  map[string]stockRow  // as last read or committed
	pending map[string]*stockRow // of the transaction under way
}

func (w *singleWriter) enter(ctx context.Context, tx *db.Tx, batch *pgx.Batch) {
	owner := broker.OwnerOf(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	if owner != w.owner || w.levels == nil {
		w.owner, w.fenced, w.levels = owner, owner == w.owner && w.fenced, map[string]stockRow{}
	}
	w.pending = map[string]*stockRow{}
	tx.OnEnd(w.ended)
	if w.guards.Lacks(services.EpochFence) {
		return
	}
	batch.Queue(`insert into writer_fence (partition, generation) values ($1, $2)
		on conflict (partition) do update set generation = excluded.generation
		where writer_fence.generation <= excluded.generation`, owner.Partition, owner.Generation).
		Exec(func(tag pgconn.CommandTag) error {
			if tag.RowsAffected() == 0 {
				return errFenced
			}
			return nil
		})
}

// ended keeps what the transaction wrote, or forgets all when nobody knows whether it did. As long as no transaction of the
// owner has committed, a rollback takes the fence back too: what was read may be written once more by the owner before.
func (w *singleWriter) ended(_ context.Context, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err == nil:
		w.fenced = true
		for product, l := range w.pending {
			w.levels[product] = *l
		}
	case errors.Is(err, db.ErrOutcomeUnknown), !w.fenced && !w.guards.Removed(services.EpochFence):
		w.levels = nil
	}
}

func (w *singleWriter) take(ctx context.Context, tx *db.Tx, batch *pgx.Batch, lines []events.Line) error {
	if err := tx.Send(ctx, batch); err != nil { // the fence comes before the first look
		return err
	}
	batch = tx.Batch()
	err := w.change(ctx, tx, batch, lines, func(l *stockRow, line events.Line) error { return l.reserve(line) })
	if err != nil {
		return err
	}
	return tx.Send(ctx, batch)
}

func (w *singleWriter) settle(ctx context.Context, tx *db.Tx, batch *pgx.Batch, m move) error {
	return w.change(ctx, tx, batch, m.lines, func(l *stockRow, line events.Line) error {
		l.reserved -= line.Qty
		if m.op == opSell {
			l.sold += line.Qty
		} else {
			l.available += line.Qty
		}
		return nil
	})
}

// change moves the levels of lines and adds to the batch what writes them. It reads those that it does not know.
func (w *singleWriter) change(ctx context.Context, tx *db.Tx, batch *pgx.Batch, lines []events.Line, by func(*stockRow, events.Line) error) error {
	if err := w.load(ctx, tx, lines); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, line := range lines {
		l := w.pending[line.ProductID]
		if l == nil {
			known := w.levels[line.ProductID]
			l = &known
			w.pending[line.ProductID] = l
		}
		if err := by(l, line); err != nil {
			return err
		}
		queueWrite(batch, line.ProductID, *l)
	}
	return nil
}

func (w *singleWriter) load(ctx context.Context, tx *db.Tx, lines []events.Line) error {
	var unknown []events.Line
	w.mu.Lock()
	for _, line := range lines {
		if _, known := w.levels[line.ProductID]; !known {
			unknown = append(unknown, line)
		}
	}
	w.mu.Unlock()
	if len(unknown) == 0 {
		return nil
	}
	read, batch := map[string]*stockRow{}, tx.Batch()
	queueRead(batch, read, unknown, "")
	if err := tx.Send(ctx, batch); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for product, l := range read {
		w.levels[product] = *l
	}
	return nil
}

func (w *singleWriter) loops() []app.Loop { return nil }
