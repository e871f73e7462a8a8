package observe

import (
	"fmt"

	"github.com/jackc/pglogrepl"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// decoder turns the pgoutput messages of one stream into committed transactions.
type decoder struct {
	database  string
	relations map[uint32]*relation
	open      *transaction
}

// relation is a table as the stream last described it.
type relation struct {
	table   string
	columns []string
}

// transaction is one committed transaction. The end is the end of its commit record.
type transaction struct {
	xid     uint32
	end     pglogrepl.LSN
	rows    []history.Row
	markers []string
}

func (d *decoder) inTransaction() bool { return d.open != nil }

// next takes one message. It returns a transaction when the message was its commit.
func (d *decoder) next(data []byte) (*transaction, error) {
	message, err := pglogrepl.Parse(data)
	if err != nil {
		return nil, err
	}
	switch m := message.(type) {
	case *pglogrepl.BeginMessage:
		d.open = &transaction{xid: m.Xid}
		return nil, nil
	case *pglogrepl.RelationMessage:
		d.describe(m)
		return nil, nil
	case *pglogrepl.LogicalDecodingMessage:
		if m.Prefix == markerPrefix && d.open != nil {
			d.open.markers = append(d.open.markers, string(m.Content))
		}
		return nil, nil
	case *pglogrepl.TypeMessage, *pglogrepl.OriginMessage:
		return nil, nil
	}
	if d.open == nil {
		return nil, fmt.Errorf("%T outside a transaction", message)
	}
	switch m := message.(type) {
	case *pglogrepl.CommitMessage:
		committed := d.open
		d.open, committed.end = nil, m.TransactionEndLSN
		for i := range committed.rows {
			committed.rows[i].LSN = uint64(committed.end)
		}
		return committed, nil
	case *pglogrepl.InsertMessage:
		return nil, d.row("insert", m.RelationID, nil, m.Tuple)
	case *pglogrepl.UpdateMessage:
		return nil, d.row("update", m.RelationID, m.OldTuple, m.NewTuple)
	case *pglogrepl.DeleteMessage:
		return nil, d.row("delete", m.RelationID, m.OldTuple, nil)
	case *pglogrepl.TruncateMessage:
		for _, id := range m.RelationIDs {
			if err := d.row("truncate", id, nil, nil); err != nil {
				return nil, err
			}
		}
		return nil, nil
	}
	return nil, fmt.Errorf("unexpected %T", message)
}

func (d *decoder) describe(m *pglogrepl.RelationMessage) {
	table := m.RelationName
	if m.Namespace != "public" {
		table = m.Namespace + "." + table
	}
	r := &relation{table: table}
	for _, column := range m.Columns {
		r.columns = append(r.columns, column.Name)
	}
	d.relations[m.RelationID] = r
}

func (d *decoder) row(action string, id uint32, before, after *pglogrepl.TupleData) error {
	r, ok := d.relations[id]
	if !ok {
		return fmt.Errorf("%s of relation %d, which was never described", action, id)
	}
	row := history.Row{Database: d.database, Table: r.table, Xid: d.open.xid, Action: action}
	var err error
	if row.Before, err = r.columnsOf(before, nil); err != nil {
		return err
	}
	if row.After, err = r.columnsOf(after, row.Before); err != nil {
		return err
	}
	d.open.rows = append(d.open.rows, row)
	return nil
}

// columnsOf names the values of a tuple. A large value that an update left alone is not sent again: it
// is taken from the old row.
func (r *relation) columnsOf(tuple *pglogrepl.TupleData, old history.Columns) (history.Columns, error) {
	if tuple == nil {
		return nil, nil
	}
	if len(tuple.Columns) > len(r.columns) {
		return nil, fmt.Errorf("tuple of %s has %d columns, its description %d", r.table, len(tuple.Columns), len(r.columns))
	}
	columns := make(history.Columns, len(tuple.Columns))
	for i, column := range tuple.Columns {
		name := r.columns[i]
		switch column.DataType {
		case pglogrepl.TupleDataTypeText:
			columns[name] = string(column.Data)
		case pglogrepl.TupleDataTypeToast:
			value, ok := old[name]
			if !ok {
				return nil, fmt.Errorf("column %s of %s is not in the log: the table needs REPLICA IDENTITY FULL", name, r.table)
			}
			columns[name] = value
		case pglogrepl.TupleDataTypeNull:
		default:
			return nil, fmt.Errorf("column %s of %s has unknown kind %q", name, r.table, column.DataType)
		}
	}
	return columns, nil
}
