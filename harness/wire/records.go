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

// eachRecord calls fn with the data records of the batches in b; the record is valid during the call. It
// leaves out control batches and the last batch where that is cut short, as a broker may do to a Fetch. It
// returns false when it also left out what it could not read: formats before 2 and whatever is damaged.
func eachRecord(b []byte, fn func(offset int64, record *kmsg.Record)) bool {
	whole := true
	for len(b) >= batchHeader {
		size := int64(binary.BigEndian.Uint32(b[8:])) + batchPrefix
		if size > int64(len(b)) {
			break
		}
		if b[batchMagic] != 2 || size < batchHeader || !eachInBatch(b[:size], fn) {
			whole = false
		}
		b = b[size:]
	}
	return whole
}

func eachInBatch(b []byte, fn func(int64, *kmsg.Record)) bool {
	var batch kmsg.RecordBatch
	if batch.ReadFrom(b) != nil {
		return false
	}
	if batch.Attributes&attributeControl != 0 || batch.NumRecords == 0 { // compaction leaves batches without records
		return true
	}
	records := batch.Records
	if codec := batch.Attributes & attributeCodec; codec != 0 {
		plain, err := decompressor.Decompress(records, kgo.CompressionCodecType(codec))
		if err != nil || len(plain) > maxDecompressed {
			return false
		}
		records = plain
	}
	var record kmsg.Record
	for range batch.NumRecords {
		length, n := binary.Varint(records)
		if n <= 0 || length < 0 || length > int64(len(records)-n) {
			return false
		}
		if record.UnsafeReadFrom(records[:n+int(length)]) != nil {
			return false
		}
		fn(batch.FirstOffset+int64(record.OffsetDelta), &record)
		records = records[n+int(length):]
	}
	return true
}
