package link

import (
	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/wire"
)

// event describes m, the latest message of f's reader, to the history.
func (f *flow) event(m *wire.Message) history.Wire {
	return history.Wire{
		Link: f.conn.link.config.Name, Conn: f.conn.id, Msg: f.count, Direction: m.Direction, Kind: m.Kind,
		Status: m.Status, Tokens: m.Tokens, Records: m.Records, Began: m.Began, Size: m.Size,
	}
}

// arrived records a request that is judged by when it reached the tap: whatever the server does because
// of it comes later.
func (f *flow) arrived(m *wire.Message) {
	if m.Direction != history.Request {
		return
	}
	switch f.conn.link.config.Protocol {
	case wire.Kafka:
		switch m.Kind {
		case "Produce", "OffsetCommit", "TxnOffsetCommit", "EndTxn":
			f.conn.link.record(f.event(m))
		}
	case wire.HTTP:
		f.conn.link.record(f.event(m))
	}
}

// departure is the event to record just before m leaves, nil for none: a COMMIT on its way to the server,
// and every answer that tells a client what became of its work.
func (f *flow) departure(m *wire.Message) *history.Wire {
	if m.Fragment || !departs(f.conn.link.config.Protocol, m) {
		return nil
	}
	event := f.event(m)
	event.Forwarded = m.Direction == history.Request
	return &event
}

func departs(protocol wire.Protocol, m *wire.Message) bool {
	answer := m.Direction == history.Response
	switch protocol {
	case wire.Postgres:
		return m.Kind == "COMMIT" || m.Kind == "Error" && answer
	case wire.Kafka:
		return answer && (m.Kind == "Produce" || m.Kind == "EndTxn" || m.Kind == "Fetch" && len(m.Records) > 0 || m.Status != "")
	case wire.HTTP:
		return answer
	default:
		return false
	}
}
