package history

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// sample is a history of about the mix and the sizes of a real one: half rows, a fifth wire messages,
// the rest records and operations.
func sample(i int) Event {
	id := fmt.Sprintf("order-%07d", i/10)
	event := "0197f1a2-7c1e-7a00-9d3e-" + fmt.Sprintf("%012d", i)
	switch i % 10 {
	case 0:
		return Event{Op: &Op{ID: int64(i), Type: Invoke, Client: "client-01", Action: Place, Link: "client->order", Key: "key-" + id, Attempt: 1, Order: id, Lines: []Line{{"sku-001", 2}, {"sku-002", 1}}}}
	case 1:
		return Event{Op: &Op{ID: int64(i), Type: OK, Client: "client-01", Action: Place, Link: "client->order", Key: "key-" + id, Attempt: 1, Order: id, Status: 201, State: "PENDING"}}
	case 2:
		return Event{Wire: &Wire{Link: "order->postgres", Conn: 3, Msg: int64(i), Direction: Request, Kind: "COMMIT", Tokens: []string{id, event, "key-" + id, "sku-001", "sku-002"}, Began: time.Duration(i), Size: 12}}
	case 3:
		return Event{Wire: &Wire{Link: "order->kafka-1", Conn: 2, Msg: int64(i), Direction: Response, Kind: "Produce", Tokens: []string{id, event, "OrderPlaced"}, Records: []string{"order-events/3@17"}, Size: 120}}
	case 4:
		return Event{Record: &Record{Topic: "order-events", Partition: int32(i % 6), Offset: int64(i), Key: Bytes(id), Headers: map[string]string{"event_id": event, "event_type": "OrderPlaced"}, Value: Bytes(`{"eventId":"` + event + `","type":"OrderPlaced","orderId":"` + id + `","version":1,"lines":[{"lineNo":1,"productId":"sku-001","qty":2}],"paymentAmt":1000}`)}}
	case 5:
		return Event{Row: &Row{Database: "orders", Table: "orders", LSN: uint64(i), Xid: uint32(i), Action: "insert", After: Columns{"order_id": id, "status": "PENDING", "version": "1", "idempotency_key": "key-" + id, "payment_amt": "1000", "event_id": event, "created_at": "2026-11-23 15:00:00.123456+00", "updated_at": "2026-11-23 15:00:00.123456+00"}}}
	case 6:
		return Event{Row: &Row{Database: "orders", Table: "outbox", LSN: uint64(i), Xid: uint32(i), Action: "insert", After: Columns{"id": "17", "event_id": event, "topic": "order-events", "key": id, "headers": `{"event_id": "` + event + `"}`, "payload": `\x7b226576656e744964223a2230313937663161322d376331652d376130302d396433652d303030303030303030303030227d`, "created_at": "2026-11-23 15:00:00.123456+00"}}}
	case 7:
		return Event{Row: &Row{Database: "stock", Table: "stock", LSN: uint64(i), Xid: uint32(i), Action: "update", Before: Columns{"product_id": "sku-001", "available": "50", "reserved": "0", "sold": "0", "version": "1"}, After: Columns{"product_id": "sku-001", "available": "48", "reserved": "2", "sold": "0", "version": "2"}}}
	case 8:
		return Event{Row: &Row{Database: "stock", Table: "stock_ledger", LSN: uint64(i), Xid: uint32(i), Action: "insert", After: Columns{"entry_id": "12", "product_id": "sku-001", "op": "reserve", "qty": "2", "order_id": id, "reservation_id": event, "line_no": "1", "event_id": event, "created_at": "2026-11-23 15:00:00.123456+00"}}}
	default:
		return Event{Row: &Row{Database: "stock", Table: "inbox", LSN: uint64(i), Xid: uint32(i), Action: "insert", After: Columns{"consumer": "stock", "event_id": event, "outcome": "applied", "topic": "order-events", "partition": "3", "record_offset": "17", "processed_at": "2026-11-23 15:00:00.123456+00"}}}
	}
}

func save(t testing.TB, path string, events int) {
	recorder, err := Create(path, Header{Scenario: "sample"})
	require.NoError(t, err)
	for i := range events {
		recorder.Append(sample(i))
	}
	require.NoError(t, recorder.Close())
}

func BenchmarkRead(b *testing.B) {
	const events = 200_000
	path := filepath.Join(b.TempDir(), "history.jsonl")
	save(b, path, events)
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		_, err := Read(path, func(Event) error { n++; return nil })
		require.NoError(b, err)
		require.Equal(b, events, n)
	}
	b.ReportMetric(float64(events)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkAppend(b *testing.B) {
	recorder, err := Create(filepath.Join(b.TempDir(), "history.jsonl"), Header{})
	require.NoError(b, err)
	events := make([]Event, 10)
	for i := range events {
		events[i] = sample(i)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		recorder.Append(events[i%10])
		i++
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	require.NoError(b, recorder.Close())
}
