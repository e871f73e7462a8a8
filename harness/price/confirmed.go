package price

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pglogrepl"
)

// confirmed returns when each order was first committed as CONFIRMED. It reads the write-ahead log once all is
// over: nothing observed the services while they were measured.
func (m *Meter) confirmed(ctx context.Context) (map[string]time.Time, error) {
	conn, err := m.target.Connect(ctx, m.target.Orders)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rows, err := conn.Query(ctx, `SELECT data FROM pg_logical_slot_peek_binary_changes($1, NULL, NULL,
		'proto_version', '1', 'publication_names', $2)`, m.target.Slot, m.target.Publication)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := confirmations{at: map[string]time.Time{}, relations: map[uint32]columns{}}
	for rows.Next() {
		var data []byte
		if err := rows.Scan(&data); err != nil {
			return nil, err
		}
		if err := found.read(data); err != nil {
			return nil, err
		}
	}
	return found.at, rows.Err()
}

// columns says where the table orders has its id and its status; both are -1 in other tables.
type columns struct{ id, status int }

// confirmations follows a stream of pgoutput messages.
type confirmations struct {
	at        map[string]time.Time
	relations map[uint32]columns
	commit    time.Time // of the transaction that the messages are of
}

func (c *confirmations) read(data []byte) error {
	message, err := pglogrepl.Parse(data)
	if err != nil {
		return fmt.Errorf("parse logical message: %w", err)
	}
	switch m := message.(type) {
	case *pglogrepl.BeginMessage:
		c.commit = m.CommitTime
	case *pglogrepl.RelationMessage:
		at := columns{-1, -1}
		for i, column := range m.Columns {
			switch {
			case m.RelationName != "orders":
			case column.Name == "order_id":
				at.id = i
			case column.Name == "status":
				at.status = i
			}
		}
		c.relations[m.RelationID] = at
	case *pglogrepl.InsertMessage:
		c.row(m.RelationID, m.Tuple)
	case *pglogrepl.UpdateMessage:
		c.row(m.RelationID, m.NewTuple)
	}
	return nil
}

func (c *confirmations) row(relation uint32, tuple *pglogrepl.TupleData) {
	at, known := c.relations[relation]
	if !known || at.id < 0 || at.status < 0 || tuple == nil {
		return
	}
	id, status := tuple.Columns[at.id], tuple.Columns[at.status]
	if status.DataType != pglogrepl.TupleDataTypeText || string(status.Data) != "CONFIRMED" {
		return
	}
	if _, before := c.at[string(id.Data)]; !before {
		c.at[string(id.Data)] = c.commit
	}
}
