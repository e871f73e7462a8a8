package outbox

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/ordeal-chaos/ordeal/services"
	"github.com/ordeal-chaos/ordeal/services/internal/db"
)

// stream is one connection that reads the slot, and so the only one that publishes.
type stream struct {
	*logical
	connection *pgconn.PgConn
	relations  map[uint32][]string // names of columns
	open       []row               // of a transaction whose commit was not read yet
	within     bool                // such a transaction
	ready      []row               // committed
	position   pglogrepl.LSN       // everything committed before it is published
	next       pglogrepl.LSN       // and before this, once what is ready is
}

// rest publishes what was committed before the slot was made.
func (s *stream) rest(ctx context.Context) error {
	done := false
	for after := int64(0); ; {
		var rows []row
		batch := &pgx.Batch{}
		batch.Queue(`select exists (select from outbox_slot where slot_name = $1)`, s.slot).QueryRow(func(row pgx.Row) error {
			return row.Scan(&done)
		})
		batch.Queue(selectRows+`where id > $1 order by id limit $2`, after, pageSize).Query(collect(&rows))
		if err := s.db.Read(ctx, batch); err != nil {
			return fmt.Errorf("read outbox: %w", err)
		}
		if done {
			return nil
		}
		if len(rows) == 0 {
			break
		}
		if s.publisher.Guards.Lacks(services.SlotSnapshot) {
			// Whoever trusts the log alone takes all that is in the table for published.
			err := s.remove(ctx, ids(rows))
			if err != nil {
				return err
			}
		} else if err := s.publish(ctx, rows); err != nil {
			return err
		}
		after = rows[len(rows)-1].id
	}
	err := s.db.Transact(ctx, func(ctx context.Context, tx *db.Tx) error {
		batch := tx.Batch()
		batch.Queue(`insert into outbox_slot (slot_name) values ($1) on conflict do nothing`, s.slot)
		return tx.Send(ctx, batch)
	})
	if err != nil {
		return fmt.Errorf("note the slot: %w", err)
	}
	return nil
}

// follow publishes what the log brings until the connection breaks.
func (s *stream) follow(ctx context.Context) error {
	reported := time.Time{}
	for {
		patience := report
		if len(s.ready) > 0 {
			patience = gather
		}
		receiving, cancel := context.WithTimeout(ctx, patience)
		message, err := s.connection.ReceiveMessage(receiving)
		cancel()
		asked := false
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && !pgconn.Timeout(err):
			return fmt.Errorf("read stream: %w", err)
		case err == nil:
			if asked, err = s.take(message); err != nil {
				return err
			}
		}
		if len(s.ready) >= pageSize || len(s.ready) > 0 && message == nil {
			if err := s.publish(ctx, s.ready); err != nil {
				return err
			}
			s.ready = nil
		}
		if len(s.ready) == 0 {
			s.position = s.next
		}
		if asked || time.Since(reported) > report {
			reported = time.Now()
			if err := s.confirm(ctx); err != nil {
				return err
			}
		}
	}
}

// take handles one message of the stream, and reports whether the server wants to hear the position.
func (s *stream) take(message pgproto3.BackendMessage) (asked bool, err error) {
	data, ok := message.(*pgproto3.CopyData)
	if !ok {
		return false, fmt.Errorf("read stream: the server sent %T", message)
	}
	switch data.Data[0] {
	case pglogrepl.PrimaryKeepaliveMessageByteID:
		alive, err := pglogrepl.ParsePrimaryKeepaliveMessage(data.Data[1:])
		if err != nil {
			return false, fmt.Errorf("decode stream: %w", err)
		}
		if !s.within {
			s.next = max(s.next, alive.ServerWALEnd)
		}
		return alive.ReplyRequested, nil
	case pglogrepl.XLogDataByteID:
		frame, err := pglogrepl.ParseXLogData(data.Data[1:])
		if err == nil {
			err = s.decode(frame.WALData)
		}
		if err != nil {
			return false, fmt.Errorf("decode stream: %w", err)
		}
	}
	return false, nil
}

func (s *stream) decode(data []byte) error {
	message, err := pglogrepl.Parse(data)
	if err != nil {
		return err
	}
	switch m := message.(type) {
	case *pglogrepl.BeginMessage:
		s.open, s.within = nil, true
	case *pglogrepl.CommitMessage:
		s.ready = append(s.ready, s.open...)
		s.open, s.within, s.next = nil, false, m.TransactionEndLSN
	case *pglogrepl.RelationMessage:
		var columns []string
		for _, column := range m.Columns {
			columns = append(columns, column.Name)
		}
		s.relations[m.RelationID] = columns
	case *pglogrepl.InsertMessage:
		r, err := rowOf(s.relations[m.RelationID], m.Tuple)
		if err != nil {
			return err
		}
		s.open = append(s.open, r)
	}
	return nil
}

// rowOf reads an outbox row from the log, where all values are text.
func rowOf(columns []string, tuple *pglogrepl.TupleData) (row, error) {
	values := map[string]*string{}
	for i, column := range tuple.Columns {
		if i < len(columns) && column.DataType == pglogrepl.TupleDataTypeText {
			text := string(column.Data)
			values[columns[i]] = &text
		}
	}
	var r row
	m := &r.message
	for name, into := range map[string]any{"id": &r.id, "partition": &m.Partition} {
		if text := values[name]; text != nil {
			if err := json.Unmarshal([]byte(*text), into); err != nil {
				return row{}, fmt.Errorf("read column %s: %w", name, err)
			}
		}
	}
	if xid := values["xid"]; xid != nil {
		r.xid = *xid
	}
	if values["topic"] == nil || values["headers"] == nil {
		return row{}, errors.New("an outbox row has no topic or no headers")
	}
	m.Topic = *values["topic"]
	var err error
	if m.Headers, err = decodeHeaders([]byte(*values["headers"])); err != nil {
		return row{}, err
	}
	if m.Value, err = bytesOf(values["payload"]); err != nil {
		return row{}, err
	}
	if m.Key, err = bytesOf(values["raw_key"]); err != nil {
		return row{}, err
	}
	if key := values["key"]; key != nil {
		m.Key = []byte(*key)
	}
	return r, nil
}

// bytesOf reads a bytea in the hex format; none is null.
func bytesOf(text *string) ([]byte, error) {
	if text == nil {
		return nil, nil
	}
	digits, found := strings.CutPrefix(*text, `\x`)
	if !found {
		return nil, fmt.Errorf("bytes are not in hex: %.10q", *text)
	}
	return hex.DecodeString(digits)
}

// publish produces rows, in order within each partition, until all are acknowledged, and deletes them.
func (s *stream) publish(ctx context.Context, rows []row) error {
	all, read := ids(rows), rows
	for len(rows) > 0 {
		failed := map[target]error{}
		done := map[int64]bool{}
		for _, id := range s.publisher.produceRows(ctx, rows, failed) {
			done[id] = true
		}
		var left []row
		for _, row := range rows {
			if !done[row.id] {
				left = append(left, row)
			}
		}
		if rows = left; len(rows) == 0 {
			break
		}
		for t, err := range failed {
			s.publisher.Log.Warn("relay outbox", "topic", t.topic, "partition", t.partition, "error", err)
		}
		if err := s.confirm(ctx); err != nil { // the server must not give up a relay that waits for its broker
			return err
		}
		if !wait(ctx, backoffMax) {
			return ctx.Err()
		}
	}
	if err := s.visible(ctx, read); err != nil {
		return err
	}
	return s.remove(ctx, all)
}

// visible waits until the transactions that wrote the rows are over for others too: the log has a commit before a snapshot
// sees it, and a row that is not seen cannot be deleted.
func (s *stream) visible(ctx context.Context, rows []row) error {
	xids := map[string]bool{}
	for _, row := range rows {
		if row.xid != "" {
			xids[row.xid] = true
		}
	}
	for {
		var all bool
		batch := &pgx.Batch{}
		batch.Queue(`select coalesce(bool_and(pg_visible_in_snapshot(x::xid8, pg_current_snapshot())), true) from unnest($1::text[]) x`,
			slices.Collect(maps.Keys(xids))).QueryRow(func(row pgx.Row) error { return row.Scan(&all) })
		if err := s.db.Read(ctx, batch); err != nil {
			return fmt.Errorf("look for what was published: %w", err)
		}
		if all {
			return nil
		}
		if !wait(ctx, gather) {
			return ctx.Err()
		}
	}
}

// remove deletes rows that are published.
func (s *stream) remove(ctx context.Context, published []int64) error {
	err := s.db.Transact(ctx, func(ctx context.Context, tx *db.Tx) error {
		batch := tx.Batch()
		batch.Queue(`delete from outbox where id = any($1)`, published)
		return tx.Send(ctx, batch)
	})
	if err != nil {
		return fmt.Errorf("delete what was published: %w", err)
	}
	return nil
}

// confirm tells the server what is published; it need not keep the log of that.
func (s *stream) confirm(ctx context.Context) error {
	// Zero stands for nothing yet: the server then keeps what it has.
	at := pglogrepl.StandbyStatusUpdate{WALWritePosition: s.position, WALFlushPosition: s.position, WALApplyPosition: s.position}
	if err := pglogrepl.SendStandbyStatusUpdate(ctx, s.connection, at); err != nil {
		return fmt.Errorf("confirm position: %w", err)
	}
	return nil
}
