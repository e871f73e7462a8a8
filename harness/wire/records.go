package wire

import (
	"encoding/binary"
	"sync"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Topics maps the ids of Kafka topics to their names, as Metadata responses tell them. The zero value
// is empty and ready. It is safe for concurrent use.
type Topics struct {
	names sync.Map // [16]byte to string
}

func (t *Topics) learn(metadata *kmsg.MetadataResponse) {
	for _, topic := range metadata.Topics {
		if topic.Topic != nil && topic.TopicID != [16]byte{} {
			t.names.Store(topic.TopicID, *topic.Topic)
		}
	}
}

// name prefers the name; an id never seen in a Metadata response stands for itself, as a uuid.
func (t *Topics) name(name string, id [16]byte) string {
	if name != "" || id == [16]byte{} {
		return name
	}
	if known, ok := t.names.Load(id); ok {
		return known.(string)
	}
	return uuid.UUID(id).String()
}

// The parts of a record batch header, format 2 ("magic" 2), the only format of Kafka 0.11 and later.
const (
	batchPrefix = 12 // first offset, length: what the length does not count
	batchHeader = 61
	batchMagic  = 16

	attributeControl = 1 << 5
	attributeCodec   = 7
)

// maxDecompressed bounds the records of one batch that are looked into.
const maxDecompressed = maxFrame

var decompressor = kgo.DefaultDecompressor()

// eachRecord calls fn with the data records of the batches in b. Control batches, formats before 2, a
// batch cut short and whatever is damaged are left out. The record is valid during the call.
func eachRecord(b []byte, fn func(offset int64, record *kmsg.Record)) {
	for len(b) >= batchHeader {
		size := int64(binary.BigEndian.Uint32(b[8:])) + batchPrefix
		if size < batchHeader || size > int64(len(b)) {
			return
		}
		if b[batchMagic] == 2 {
			eachInBatch(b[:size], fn)
		}
		b = b[size:]
	}
}

func eachInBatch(b []byte, fn func(int64, *kmsg.Record)) {
	var batch kmsg.RecordBatch
	if batch.ReadFrom(b) != nil || batch.Attributes&attributeControl != 0 {
		return
	}
	records := batch.Records
	if codec := batch.Attributes & attributeCodec; codec != 0 {
		plain, err := decompressor.Decompress(records, kgo.CompressionCodecType(codec))
		if err != nil || len(plain) > maxDecompressed {
			return
		}
		records = plain
	}
	var record kmsg.Record
	for range batch.NumRecords {
		length, n := binary.Varint(records)
		if n <= 0 || length < 0 || length > int64(len(records)-n) {
			return
		}
		if record.UnsafeReadFrom(records[:n+int(length)]) != nil {
			return
		}
		fn(batch.FirstOffset+int64(record.OffsetDelta), &record)
		records = records[n+int(length):]
	}
}
