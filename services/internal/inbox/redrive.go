package inbox

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/broker"
	"github.com/ordeal-chaos/ordeal/services/internal/db"
	"github.com/ordeal-chaos/ordeal/services/internal/events"
)

// errOvertaken rules out the replay of an event: a newer one of its order was handled without it.
var errOvertaken = fmt.Errorf("%w: a newer event of the order was handled", ErrStale)

// Redrive replays the dead letters of a processor: each at most [services.RedriveRounds] times, through the same effect. Which
// ones still wait, and that one was replayed, is in their inbox rows, so that any number of replicas may do it.
type Redrive struct {
	Processor *Processor
	Producer  *broker.Producer

	read    map[string]map[int32]int64 // offsets to go on from, by topic and partition
	letters []broker.Record            // that wait
}

// Do reads the dead letters that came since the last time, and then tries all that wait, once.
func (r *Redrive) Do(ctx context.Context) error {
	errs := []error{r.collect(ctx)}
	var waiting []broker.Record
	for _, letter := range r.letters {
		wait, err := r.replay(ctx, letter)
		if wait {
			waiting = append(waiting, letter)
		}
		errs = append(errs, err)
	}
	r.letters = waiting
	return errors.Join(errs...)
}

func (r *Redrive) collect(ctx context.Context) error {
	if r.read == nil {
		r.read = map[string]map[int32]int64{}
	}
	for _, original := range r.Processor.Topics {
		topic := services.DeadLetterPrefix + original
		partitions, err := r.Producer.Partitions(ctx, topic)
		if err != nil {
			return err
		}
		if r.read[topic] == nil {
			r.read[topic] = map[int32]int64{}
		}
		for partition := range partitions {
			records, next, err := r.Producer.ReadFrom(ctx, topic, partition, r.read[topic][partition])
			if err != nil {
				return err
			}
			r.read[topic][partition] = next
			for _, record := range records {
				if header(record, headerConsumer) == r.Processor.Group {
					r.letters = append(r.letters, record)
				}
			}
		}
	}
	return nil
}

// replay tries one dead letter again. It waits for more when it was not done with.
func (r *Redrive) replay(ctx context.Context, letter broker.Record) (wait bool, err error) {
	p := r.Processor
	original, ok := originalOf(letter)
	if !ok {
		return false, fmt.Errorf("dead letter %s/%d@%d does not say what it keeps", letter.Topic, letter.Partition, letter.Offset)
	}
	event, err := events.Decode(original.Value)
	receipt := p.receipt(original, event)
	receipt.replay = true
	if waits, err := r.waits(ctx, receipt); err != nil || !waits {
		return waits, err
	}
	if err == nil {
		err = p.attempt(ctx, receipt, func(ctx context.Context) error { return p.Effect(ctx, receipt, event) })
	}
	if err == nil {
		return false, nil // replayed, or there was nothing left to replay
	}
	class := classify(err)
	receipt.log().Warn("replay dead letter", "error", err)
	if class == db.Unavailable {
		return true, nil
	}
	rounds := 1
	if class == db.Refused { // for good
		rounds = services.RedriveRounds
	}
	return r.failed(ctx, receipt, rounds)
}

// waits asks whether a dead letter has rounds left. While that is not known, it has.
func (r *Redrive) waits(ctx context.Context, receipt *Receipt) (bool, error) {
	waits := true
	batch := &pgx.Batch{}
	batch.Queue(`select exists (select from inbox where consumer = $1 and event_id = $2 and outcome = 'dead-lettered' and replays < $3)`,
		receipt.processor.Group, receipt.key(), services.RedriveRounds).QueryRow(func(row pgx.Row) error { return row.Scan(&waits) })
	err := r.Processor.DB.Read(ctx, batch)
	return waits || err != nil, err
}

// failed counts rounds that did not help.
func (r *Redrive) failed(ctx context.Context, receipt *Receipt, rounds int) (wait bool, err error) {
	err = r.Processor.DB.Transact(ctx, func(ctx context.Context, tx *db.Tx) error {
		batch := tx.Batch()
		batch.Queue(`update inbox set replays = replays + $3 where consumer = $1 and event_id = $2 and outcome = 'dead-lettered'
			returning replays`, receipt.processor.Group, receipt.key(), rounds).Query(func(rows pgx.Rows) error {
			var replays int
			if rows.Next() {
				if err := rows.Scan(&replays); err != nil {
					return err
				}
				wait = replays < services.RedriveRounds
			}
			rows.Close()
			return rows.Err()
		})
		return tx.Send(ctx, batch)
	})
	return wait || err != nil, err
}

// addReplay records the replay in the inbox row of the dead letter. It fails when there is no round left, or when a
// newer event of the order was handled: that one counted on this one being dead.
func (r *Receipt) addReplay(batch *pgx.Batch) {
	batch.Queue(`update inbox set outcome = $3, replays = replays + 1
		where consumer = $1 and event_id = $2 and outcome = 'dead-lettered' and replays < $4`,
		r.processor.Group, r.key(), Replayed, services.RedriveRounds).Exec(func(tag pgconn.CommandTag) error {
		if tag.RowsAffected() == 0 {
			return errDuplicate
		}
		return nil
	})
	batch.Queue(`select exists (select from inbox where consumer = $1 and topic = $2 and order_id = $3 and version > $4
		and outcome <> 'dead-lettered')`, r.processor.Group, r.record.Topic, r.event.OrderID, r.event.Version).
		QueryRow(func(row pgx.Row) error {
			var newer bool
			if err := row.Scan(&newer); err != nil {
				return err
			}
			if newer {
				return errOvertaken
			}
			return nil
		})
}

// oneAtATime makes transactions of one order wait for each other where dead letters are replayed beside the records of
// its partition. The lock comes first, so that each sees what the one before it did.
func (r *Receipt) oneAtATime(ctx context.Context) context.Context {
	if r.processor.Failures != services.Redrive || r.event.OrderID == "" {
		return ctx
	}
	return db.First(ctx, func(batch *pgx.Batch) {
		batch.Queue(`select pg_advisory_xact_lock(hashtextextended($1, 0))`, r.processor.Group+"/"+r.event.OrderID)
	})
}
