package check

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// Headers of records that judging reads.
const (
	headerEventID           = "event_id"
	headerEventType         = "event_type"
	headerOriginalTopic     = "dlt-original-topic"
	headerOriginalPartition = "dlt-original-partition"
	headerOriginalOffset    = "dlt-original-offset"
	headerConsumer          = "dlt-consumer"
)

// Topics made from others: of dead letters, and of records that wait to be tried again.
const (
	deadLetterPrefix = "dlt-"
	retryPrefix      = "retry-"
)

func isRetryTopic(topic string) bool { return strings.HasPrefix(topic, retryPrefix) }

func isDeadLetterTopic(topic string) bool { return strings.HasPrefix(topic, deadLetterPrefix) }

func (p Position) String() string {
	return p.Topic + "/" + strconv.Itoa(int(p.Partition)) + "@" + strconv.FormatInt(p.Offset, 10)
}

// Position returns the place of the record.
func (r *Record) Position() Position { return Position{r.Topic, r.Partition, r.Offset} }

// String names the partition, as "topic/number".
func (p *Partition) String() string { return p.Topic + "/" + strconv.Itoa(int(p.Number)) }

// At returns the record at an offset, nil when the log has none.
func (p *Partition) At(offset int64) *Record {
	i := p.search(offset)
	if i == len(p.Records) || p.Records[i].Offset != offset {
		return nil
	}
	return p.Records[i]
}

// search returns the index of the first record at or above an offset.
func (p *Partition) search(offset int64) int {
	i, _ := slices.BinarySearchFunc(p.Records, offset, func(r *Record, offset int64) int {
		return cmp.Compare(r.Offset, offset)
	})
	return i
}

// conflict is a second reading of an offset that does not agree with the first, or comes too late.
type conflict struct {
	first  *Record // nil when the offset was never read before
	second *Record
}

func (b *Builder) record(mark Mark, from *history.Record) {
	v := b.view
	record := &Record{
		Mark: mark, Topic: b.text(from.Topic), Partition: from.Partition, Offset: from.Offset,
		Key: b.text(string(from.Key)), Digest: sha256.Sum256(from.Value),
		Aborted: from.Aborted, Injected: from.Injected,
	}
	for name, value := range from.Headers {
		record.Headers = append(record.Headers, RecordHeader{b.text(name), b.text(value)})
	}
	slices.SortFunc(record.Headers, func(a, b RecordHeader) int { return cmp.Compare(a.Name, b.Name) })

	key := partitionKey{record.Topic, record.Partition}
	partition := v.partitions[key]
	if partition == nil {
		partition = &Partition{Topic: record.Topic, Number: record.Partition, last: -1}
		v.partitions[key] = partition
		v.Partitions = append(v.Partitions, partition)
	}
	if record.Offset <= partition.last {
		first := partition.find(record.Offset)
		if first != nil && first.same(record) { // read again, now knowing more
			first.Aborted = first.Aborted || record.Aborted
			first.Injected = first.Injected || record.Injected
			return
		}
		partition.conflicts = append(partition.conflicts, conflict{first, record})
		if first != nil {
			b.decode(record, from.Value)
			return
		}
	}
	partition.last = max(partition.last, record.Offset)
	partition.Records = append(partition.Records, record)
	b.decode(record, from.Value)
	v.file(record)
}

// find is At while records are still arriving, and the last may be out of order.
func (p *Partition) find(offset int64) *Record {
	if len(p.conflicts) == 0 {
		return p.At(offset)
	}
	for _, record := range p.Records {
		if record.Offset == offset {
			return record
		}
	}
	return nil
}

func (r *Record) same(other *Record) bool {
	return r.Key == other.Key && r.Digest == other.Digest && slices.Equal(r.Headers, other.Headers)
}

// decode reads the value as an event and settles the record's event id.
func (b *Builder) decode(record *Record, value []byte) {
	payload := new(Payload)
	err := json.Unmarshal(value, payload)
	if err != nil {
		*payload = Payload{} // what was read before the error means nothing to a consumer either
	} else if payload.OrderID == "" {
		err = errors.New("value names no order")
	}
	// As consumers do: an id in the header counts unless the value contradicts it.
	record.EventID = record.Header(headerEventID)
	if payload.EventID != "" {
		record.EventID = b.text(payload.EventID)
	}
	if err == nil {
		payload.EventID, payload.OrderID = record.EventID, b.text(payload.OrderID)
		payload.Type = b.text(payload.Type)
		for i := range payload.Lines {
			payload.Lines[i].ProductID = b.text(payload.Lines[i].ProductID)
		}
		record.Payload = payload
	} else {
		record.Broken = fmt.Sprintf("value is no event: %v", err)
	}
	if isDeadLetterTopic(record.Topic) || isRetryTopic(record.Topic) {
		record.Origin = origin(record)
	}
	if record.EventID == "" {
		position := record.Position()
		if record.Origin != nil { // a dead letter of such a record is known by where that was
			position = *record.Origin
		}
		record.EventID = b.text(position.String())
	}
}

// origin reads where a dead letter was consumed; nil when it does not say.
func origin(record *Record) *Position {
	partition, err := strconv.ParseInt(record.Header(headerOriginalPartition), 10, 32)
	offset, err2 := strconv.ParseInt(record.Header(headerOriginalOffset), 10, 64)
	topic := record.Header(headerOriginalTopic)
	if err != nil || err2 != nil || topic == "" {
		return nil
	}
	return &Position{topic, int32(partition), offset}
}

// file puts a record under its event.
func (v *View) file(record *Record) {
	event := v.event(record.EventID)
	if isDeadLetterTopic(record.Topic) {
		event.DeadLetters = append(event.DeadLetters, record)
		return
	}
	if isRetryTopic(record.Topic) {
		event.Retries = append(event.Retries, record)
		return
	}
	event.Records = append(event.Records, record)
	if payload := record.Payload; payload != nil && event.Version == 0 {
		event.Version, event.Type, event.Order = payload.Version, payload.Type, payload.OrderID
	}
}

func (v *View) sortPartitions() {
	for _, partition := range v.Partitions {
		if len(partition.conflicts) > 0 {
			slices.SortStableFunc(partition.Records, func(a, b *Record) int { return cmp.Compare(a.Offset, b.Offset) })
		}
	}
}

func (v *View) partition(topic string, number int32) *Partition {
	return v.partitions[partitionKey{topic, number}]
}

// at returns the record at a position, nil when the log has none.
func (v *View) at(p Position) *Record {
	partition := v.partition(p.Topic, p.Partition)
	if partition == nil {
		return nil
	}
	return partition.At(p.Offset)
}
