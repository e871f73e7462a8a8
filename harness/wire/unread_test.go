package wire_test

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/wire"
)

// with returns b with one byte changed.
func with(b []byte, at int, value byte) []byte {
	b[at] = value
	return b
}

func TestKafkaTellsWhichRecordsItCannotRead(t *testing.T) {
	const magic, attributes, count = 16, 22, 60 // low bytes in the batch header
	empty := recordBatch(40)[:61]
	binary.BigEndian.PutUint32(empty[8:], 61-12)
	empty[count], empty[attributes] = 0, 1 // gzip, of nothing
	for name, test := range map[string]struct {
		batches []byte
		unread  bool
	}{
		"whole":                  {recordBatch(40), false},
		"cut short":              {recordBatch(40)[:70], false},
		"emptied by compaction":  {empty, false},
		"of an older format":     {with(recordBatch(40), magic, 1), true},
		"of an unknown codec":    {with(recordBatch(40), attributes, 7), true},
		"fewer than they should": {with(recordBatch(40), count, 3), true},
		"damaged, before others": {append(with(recordBatch(40), count, 3), recordBatch(42)...), true},
	} {
		t.Run(name, func(t *testing.T) {
			request := kmsg.NewPtrFetchRequest()
			request.SetVersion(12)
			asked, answered := exchange(t, wire.New(wire.Kafka, wire.Options{}), 1, request, fetchResponse(test.batches))
			assert.False(t, asked.Unread)
			assert.Equal(t, test.unread, answered.Unread)
			produce := produceRequest(9, -1)
			produce.Topics[0].Partitions[0].Records = test.batches
			asked, answered = exchange(t, wire.New(wire.Kafka, wire.Options{}), 2, produce, produceResponse())
			assert.Equal(t, test.unread, asked.Unread)
			assert.False(t, answered.Unread)
		})
	}
}

func TestKafkaTellsWhichMessagesItCannotRead(t *testing.T) {
	for _, key := range []kmsg.Key{kmsg.Produce, kmsg.Fetch, kmsg.OffsetCommit, kmsg.Metadata, kmsg.ApiVersions} {
		t.Run(key.Name(), func(t *testing.T) {
			looksInto := key == kmsg.Produce || key == kmsg.Fetch || key == kmsg.OffsetCommit
			request := kmsg.RequestForKey(key.Int16())
			request.SetVersion(request.MaxVersion())
			if produce, ok := request.(*kmsg.ProduceRequest); ok {
				produce.Acks = -1
			}
			codec := wire.New(wire.Kafka, wire.Options{})
			asked, answered := exchange(t, codec, 1, request, request.ResponseKind())
			assert.False(t, asked.Unread)
			assert.False(t, answered.Unread)

			// A version later than any that is known.
			frame := kafkaRequest(2, request)
			binary.BigEndian.PutUint16(frame[6:], 99)
			var m wire.Message
			require.Equal(t, len(frame), codec.Next(history.Request, frame, &m))
			assert.Equal(t, looksInto, m.Unread)
			answer := kafkaResponse(2, request.ResponseKind())
			require.Equal(t, len(answer), codec.Next(history.Response, answer, &m))
			assert.Equal(t, answer, m.Data)
			assert.True(t, m.Unread)

			// An answer cut short.
			exchange(t, codec, 3, request, nil)
			answer = kafkaResponse(3, request.ResponseKind())[:9]
			binary.BigEndian.PutUint32(answer, 5)
			require.Equal(t, len(answer), codec.Next(history.Response, answer, &m))
			assert.True(t, m.Unread)
		})
	}
	frame := kafkaRequest(1, kmsg.NewPtrListGroupsRequest())
	binary.BigEndian.PutUint16(frame[6:], 99)
	var m wire.Message
	wire.New(wire.Kafka, wire.Options{}).Next(history.Request, frame, &m)
	assert.False(t, m.Unread, "nobody looks into ListGroups")
}
