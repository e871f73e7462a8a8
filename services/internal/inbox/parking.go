package inbox

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/broker"
	"github.com/ordeal-chaos/ordeal/services/internal/db"
	"github.com/ordeal-chaos/ordeal/services/internal/events"
)

// Headers of a record in a retry topic, beside those that say which record it keeps.
const (
	headerAttempts  = "retry-attempts"   // used up until now
	headerRound     = "retry-round"      // how often it was set aside; an earlier one is a stale copy
	headerNotBefore = "retry-not-before" // Unix milliseconds
)

// waiting is a record that is or will be set aside in a retry topic.
type waiting struct {
	*Receipt
	attempts, round int
}

// handleOrPark is handle where a failed record waits in retry-<topic> while its partition goes on. The orders that
// have one there are in the table parked, by whose ids their later records queue behind. A record that cannot be
// decoded goes to its dead-letter topic at once. A database that is away holds up the partition: there is nowhere to
// set a record aside.
func (p *Processor) handleOrPark(ctx context.Context, record broker.Record) error {
	w, ok, err := p.arrived(ctx, record)
	if err != nil || !ok {
		return err
	}
	_, invalid := events.Decode(w.record.Value)
	if invalid != nil {
		return p.giveUp(ctx, w, invalid)
	}
	if p.Guards.Lacks(services.InboxInTransaction) {
		if handled, err := p.handledBefore(ctx, w.Receipt); err != nil || handled {
			return err
		}
	}
	before, parked, err := p.parkedBefore(ctx, w)
	switch {
	case err != nil:
		return err
	case !w.parkedAs(parked):
		return nil // a copy of one that was set aside, or came back, already
	case before && !p.Guards.Lacks(services.RetryKeepsOrder):
		return p.park(ctx, w, p.Retry.Backoff)
	}
	for failures := 1; ; failures++ {
		err := p.attempt(ctx, w.Receipt, func(ctx context.Context) error { return p.Effect(ctx, w.Receipt, w.event) })
		if err == nil {
			return p.unpark(ctx, w)
		}
		class := classify(err)
		if p.Guards.Lacks(services.StopOnError) {
			w.log().Error("process record", "failures", failures, "error", err)
			return nil
		}
		if p.Retry.counts(class, w.event.Type) {
			w.attempts++
		}
		switch {
		case class == db.Unavailable:
			w.log().Warn("process record", "failures", failures, "error", err)
			if err := p.Retry.pause(ctx, failures); err != nil {
				return err
			}
		case w.attempts >= p.Retry.Attempts && !p.Guards.Lacks(services.DeadLetter):
			return p.giveUp(ctx, w, err)
		default:
			w.log().Warn("set record aside", "attempts", w.attempts, "error", err)
			return p.park(ctx, w, p.Retry.delay(max(1, w.attempts)))
		}
	}
}

// arrived reads a record of a topic or of its retry topic, and waits until it is due. It is not ok when there is
// nothing to do. The error is that of ctx.
func (p *Processor) arrived(ctx context.Context, record broker.Record) (w waiting, ok bool, err error) {
	original, parked := record, false
	if !slices.Contains(p.Topics, record.Topic) {
		if original, parked = originalOf(record); !parked {
			p.Log.Error("record of a retry topic does not say what it keeps", "topic", record.Topic, "offset", record.Offset)
			return waiting{}, false, nil
		}
		if header(record, headerConsumer) != p.Group {
			return waiting{}, false, nil // of another consumer of the topic
		}
	}
	event, _ := events.Decode(original.Value)
	w.Receipt = p.receipt(original, event)
	if !parked {
		return w, true, nil
	}
	w.parked = true
	w.attempts, _ = strconv.Atoi(header(record, headerAttempts))
	w.round, _ = strconv.Atoi(header(record, headerRound))
	due, _ := strconv.ParseInt(header(record, headerNotBefore), 10, 64)
	timer := time.NewTimer(min(time.Until(time.UnixMilli(due)), maxWait))
	defer timer.Stop()
	select {
	case <-timer.C:
		return w, true, nil
	case <-ctx.Done():
		return w, false, ctx.Err()
	}
}

// maxWait bounds the pause before a record that is not due, whatever its header says.
const maxWait = time.Minute

// parkedAs says whether the record is the one that the table holds, by its round there (0: none).
func (w waiting) parkedAs(round int) bool { return w.round == round }

// parkedBefore asks whether an earlier record of the same order is set aside, and in which round this one is. The
// error is that of ctx. Nobody else sets aside records of this order and topic: they are on one partition.
func (p *Processor) parkedBefore(ctx context.Context, w waiting) (before bool, round int, err error) {
	err = p.until(ctx, w.Receipt, "ask for parked records", func(ctx context.Context) error {
		before, round = false, 0
		batch := &pgx.Batch{}
		batch.Queue(`select event_id, round from parked where consumer = $1 and topic = $2 and order_id = $3 order by id`,
			p.Group, w.record.Topic, w.event.OrderID).Query(func(rows pgx.Rows) error {
			for rows.Next() {
				var id string
				var r int
				if err := rows.Scan(&id, &r); err != nil {
					return err
				}
				if id == w.eventID {
					round = r
					break // those behind it do not matter
				}
				before = true
			}
			rows.Close()
			return rows.Err()
		})
		return p.DB.Read(ctx, batch)
	})
	return before, round, err
}

// park sets a record aside for a while, until that succeeds. The error is that of ctx.
func (p *Processor) park(ctx context.Context, w waiting, delay time.Duration) error {
	return p.until(ctx, w.Receipt, "park record", func(ctx context.Context) error {
		return p.DB.Transact(ctx, func(ctx context.Context, tx *db.Tx) error {
			batch := tx.Batch()
			once := func(tag pgconn.CommandTag) error {
				if tag.RowsAffected() == 0 {
					return errDuplicate
				}
				return nil
			}
			if w.round == 0 {
				batch.Queue(`insert into parked (consumer, topic, order_id, event_id, round) values ($1, $2, $3, $4, 1)
					on conflict do nothing`, p.Group, w.record.Topic, w.event.OrderID, w.eventID).Exec(once)
			} else {
				batch.Queue(`update parked set round = round + 1 where consumer = $1 and event_id = $2 and round = $3`,
					p.Group, w.eventID, w.round).Exec(once)
			}
			p.Publisher.Add(tx, batch, w.eventID, w.message(time.Now().Add(delay)))
			return tx.Send(ctx, batch)
		})
	})
}

// message is the record in its retry topic.
func (w waiting) message(due time.Time) broker.Message {
	headers := append(slices.Clip(w.record.Headers), origin(w.record)...)
	headers = append(headers,
		broker.Header{Key: headerConsumer, Value: []byte(w.processor.Group)},
		broker.Header{Key: headerAttempts, Value: strconv.AppendInt(nil, int64(w.attempts), 10)},
		broker.Header{Key: headerRound, Value: strconv.AppendInt(nil, int64(w.round+1), 10)},
		broker.Header{Key: headerNotBefore, Value: strconv.AppendInt(nil, due.UnixMilli(), 10)},
	)
	return broker.Message{
		Topic: services.RetryPrefix + w.record.Topic, Partition: &w.record.Partition,
		Key: w.record.Key, Headers: headers, Value: w.record.Value,
	}
}

// giveUp dead-letters a record. The error is that of ctx.
func (p *Processor) giveUp(ctx context.Context, w waiting, cause error) error {
	if err := p.deadLetter(ctx, w.Receipt, cause); err != nil {
		return err
	}
	return p.unpark(ctx, w)
}

// unpark forgets a record that came back, where its effect did not: it was a duplicate. The error is that of ctx.
func (p *Processor) unpark(ctx context.Context, w waiting) error {
	if !w.parked {
		return nil
	}
	return p.until(ctx, w.Receipt, "forget parked record", func(ctx context.Context) error {
		return p.DB.Transact(ctx, func(ctx context.Context, tx *db.Tx) error {
			batch := tx.Batch()
			w.queueUnpark(batch)
			return tx.Send(ctx, batch)
		})
	})
}

func (r *Receipt) queueUnpark(batch *pgx.Batch) {
	batch.Queue(`delete from parked where consumer = $1 and event_id = $2`, r.processor.Group, r.eventID)
}
