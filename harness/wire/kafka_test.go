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

func kafkaRequest(id int32, request kmsg.Request) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, request, id)
}

func kafkaResponse(id int32, response kmsg.Response) []byte {
	frame := binary.BigEndian.AppendUint32(make([]byte, 4), uint32(id))
	if response.IsFlexible() && response.Key() != kmsg.ApiVersions.Int16() {
		frame = append(frame, 0)
	}
	frame = response.AppendTo(frame)
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	return frame
}

// recordBatch holds two records with keys k-0, k-1 and event ids e-0, e-1, from the given offset.
func recordBatch(first int64) []byte {
	var records []byte
	for i := range int32(2) {
		record := kmsg.Record{OffsetDelta: i, Key: []byte{'k', '-', '0' + byte(i)}, Value: []byte("{}"),
			Headers: []kmsg.Header{{Key: "event_id", Value: []byte{'e', '-', '0' + byte(i)}}, {Key: "event_type", Value: []byte("OrderPlaced")}}}
		length := int32(len(record.AppendTo(nil)) - 1) // a length of 0 takes one byte
		record.Length = length
		records = record.AppendTo(records)
	}
	batch := kmsg.RecordBatch{FirstOffset: first, Magic: 2, LastOffsetDelta: 1, NumRecords: 2, Records: records, Length: int32(49 + len(records))}
	return batch.AppendTo(nil)
}

func produceResponse() *kmsg.ProduceResponse {
	r := kmsg.NewPtrProduceResponse()
	r.Topics = []kmsg.ProduceResponseTopic{{Topic: "order-events", Partitions: []kmsg.ProduceResponseTopicPartition{{Partition: 2, BaseOffset: 40}}}}
	return r
}

func metadataResponse() *kmsg.MetadataResponse {
	r := kmsg.NewPtrMetadataResponse()
	name := "order-events"
	r.Brokers = []kmsg.MetadataResponseBroker{{NodeID: 1, Host: "dead", Port: 1}, {NodeID: 2, Host: "dead", Port: 2}}
	r.Topics = []kmsg.MetadataResponseTopic{{Topic: &name, TopicID: [16]byte{7}}}
	return r
}

func versionsResponse() *kmsg.ApiVersionsResponse {
	r := kmsg.NewPtrApiVersionsResponse()
	r.ApiKeys = []kmsg.ApiVersionsResponseApiKey{{ApiKey: 3, MaxVersion: 999}, {ApiKey: kmsg.DeleteACLs.Int16(), MaxVersion: 999}}
	return r
}

func fetchResponse(batches []byte) *kmsg.FetchResponse {
	r := kmsg.NewPtrFetchResponse()
	r.Topics = []kmsg.FetchResponseTopic{{Topic: "order-events", TopicID: [16]byte{7}, Partitions: []kmsg.FetchResponseTopicPartition{{Partition: 2, RecordBatches: batches}}}}
	return r
}

// exchange passes one request and its response and returns the two messages.
func exchange(t *testing.T, codec wire.Codec, id int32, request kmsg.Request, response kmsg.Response) (asked, answered wire.Message) {
	t.Helper()
	frame := kafkaRequest(id, request)
	require.Equal(t, len(frame), codec.Next(history.Request, frame, &asked))
	require.Equal(t, frame, asked.Data)
	if response != nil {
		response.SetVersion(request.GetVersion())
		frame = kafkaResponse(id, response)
		require.Equal(t, len(frame), codec.Next(history.Response, frame, &answered))
	}
	require.False(t, codec.Opaque())
	return asked, answered
}

func rewriting() wire.Codec {
	return wire.New(wire.Kafka, wire.Options{Broker: func(node int32) (string, int32, bool) { return "127.0.0.1", 9000 + node, node == 1 }})
}

func produceRequest(version, acks int16) *kmsg.ProduceRequest {
	r := kmsg.NewPtrProduceRequest()
	r.SetVersion(version)
	r.Acks = acks
	r.Topics = []kmsg.ProduceRequestTopic{{Topic: "order-events", TopicID: [16]byte{7}, Partitions: []kmsg.ProduceRequestTopicPartition{{Partition: 2, Records: recordBatch(0)}}}}
	return r
}

func TestKafkaProduceInEveryVersion(t *testing.T) {
	for version := int16(3); version <= kmsg.NewPtrProduceRequest().MaxVersion(); version++ {
		codec := wire.New(wire.Kafka, wire.Options{})
		metadata := kmsg.NewPtrMetadataRequest()
		metadata.SetVersion(12)
		exchange(t, codec, 1, metadata, metadataResponse()) // teaches the topic's id, which 13 and later use
		response := produceResponse()
		response.Topics[0].TopicID = [16]byte{7}
		asked, answered := exchange(t, codec, 2, produceRequest(version, -1), response)
		assert.Equal(t, "Produce", asked.Kind)
		assert.Equal(t, []string{"k-0", "e-0", "OrderPlaced", "k-1", "e-1"}, asked.Tokens)
		assert.Equal(t, []string{"order-events/2"}, asked.Records, "version %d", version)
		assert.Equal(t, asked.Tokens, answered.Tokens)
		assert.Equal(t, []string{"order-events/2@40"}, answered.Records, "version %d", version)
		assert.Equal(t, asked.Opens, answered.Closes)
	}
}

func TestKafkaProduceWithoutAcksHasNoAnswer(t *testing.T) {
	codec := wire.New(wire.Kafka, wire.Options{})
	asked, _ := exchange(t, codec, 1, produceRequest(9, 0), nil)
	assert.Zero(t, asked.Opens)
	metadata := kmsg.NewPtrMetadataRequest()
	_, answered := exchange(t, codec, 1, metadata, metadataResponse()) // the same id again
	assert.Equal(t, "Metadata", answered.Kind)
}

func TestKafkaFetchNamesWhatIsDelivered(t *testing.T) {
	for version := int16(4); version <= kmsg.NewPtrFetchRequest().MaxVersion(); version++ {
		codec := wire.New(wire.Kafka, wire.Options{})
		metadata := kmsg.NewPtrMetadataRequest()
		metadata.SetVersion(12)
		exchange(t, codec, 1, metadata, metadataResponse())
		request := kmsg.NewPtrFetchRequest()
		request.SetVersion(version)
		request.Topics = []kmsg.FetchRequestTopic{{Topic: "order-events", TopicID: [16]byte{7}, Partitions: []kmsg.FetchRequestTopicPartition{{Partition: 2, FetchOffset: 41}}}}
		control := recordBatch(42)
		control[22] |= 1 << 5
		batches := append(append(recordBatch(40), control...), recordBatch(44)[:70]...) // and one cut short
		asked, answered := exchange(t, codec, 2, request, fetchResponse(batches))
		assert.Zero(t, asked.Opens, "a Fetch waits on purpose")
		assert.Equal(t, []string{"order-events/2@41"}, answered.Records, "version %d: 40 was not asked for", version)
		assert.Equal(t, []string{"k-1", "e-1"}, answered.Tokens)
	}
}

func TestKafkaRewritesAddresses(t *testing.T) {
	for version := int16(0); version <= kmsg.NewPtrMetadataRequest().MaxVersion(); version++ {
		request := kmsg.NewPtrMetadataRequest()
		request.SetVersion(version)
		_, answered := exchange(t, rewriting(), 1, request, metadataResponse())
		body := kmsg.NewPtrMetadataResponse()
		body.SetVersion(version)
		require.NoError(t, body.ReadFrom(payload(answered.Data, body)))
		assert.Equal(t, int(binary.BigEndian.Uint32(answered.Data)), len(answered.Data)-4)
		assert.Equal(t, "127.0.0.1", body.Brokers[0].Host)
		assert.Equal(t, int32(9001), body.Brokers[0].Port)
		assert.Equal(t, "dead", body.Brokers[1].Host, "node 2 is unknown")
	}
	for version := int16(0); version <= kmsg.NewPtrFindCoordinatorRequest().MaxVersion(); version++ {
		request := kmsg.NewPtrFindCoordinatorRequest()
		request.SetVersion(version)
		response := kmsg.NewPtrFindCoordinatorResponse()
		response.NodeID, response.Host, response.Port = 1, "dead", 1
		response.Coordinators = []kmsg.FindCoordinatorResponseCoordinator{{NodeID: 1, Host: "dead", Port: 1}, {NodeID: 1, Host: "dead", Port: 1, ErrorCode: 15}}
		_, answered := exchange(t, rewriting(), 1, request, response)
		body := kmsg.NewPtrFindCoordinatorResponse()
		body.SetVersion(version)
		require.NoError(t, body.ReadFrom(payload(answered.Data, body)))
		if version < 4 {
			assert.Equal(t, int32(9001), body.Port)
			continue
		}
		assert.Equal(t, int32(9001), body.Coordinators[0].Port)
		assert.Equal(t, "dead", body.Coordinators[1].Host)
	}
}

// payload is the body behind the response header.
func payload(frame []byte, body kmsg.Response) []byte {
	if body.IsFlexible() {
		return frame[9:]
	}
	return frame[8:]
}

func TestKafkaCapsVersions(t *testing.T) {
	for version := range int16(5) {
		request := kmsg.NewPtrApiVersionsRequest()
		request.SetVersion(version)
		_, answered := exchange(t, rewriting(), 1, request, versionsResponse())
		body := kmsg.NewPtrApiVersionsResponse()
		body.SetVersion(version)
		require.NoError(t, body.ReadFrom(answered.Data[8:]))
		assert.Equal(t, kmsg.NewPtrMetadataRequest().MaxVersion(), body.ApiKeys[0].MaxVersion)
		assert.Equal(t, int16(999), body.ApiKeys[1].MaxVersion, "DeleteACLs is not looked into")
	}
}

func TestKafkaVersionsAnswerToAnUnsupportedVersion(t *testing.T) {
	request := kmsg.NewPtrApiVersionsRequest()
	request.SetVersion(4)
	codec := rewriting()
	var m wire.Message
	codec.Next(history.Request, kafkaRequest(1, request), &m)
	response := versionsResponse()
	response.ErrorCode = 35
	frame := kafkaResponse(1, response) // version 0, as the protocol demands
	require.Equal(t, len(frame), codec.Next(history.Response, frame, &m))
	require.NoError(t, response.ReadFrom(m.Data[8:]))
	assert.Equal(t, kmsg.NewPtrMetadataRequest().MaxVersion(), response.ApiKeys[0].MaxVersion)
}

func TestKafkaAnswerToNothingMakesTheConnectionOpaque(t *testing.T) {
	codec := wire.New(wire.Kafka, wire.Options{})
	var m wire.Message
	frame := kafkaResponse(9, produceResponse())
	require.Equal(t, len(frame), codec.Next(history.Response, frame, &m))
	assert.True(t, m.Fragment)
	assert.True(t, codec.Opaque())
}

func TestKafkaUnknownApisPass(t *testing.T) {
	codec := wire.New(wire.Kafka, wire.Options{})
	var m wire.Message
	request := []byte{0, 0, 0, 10, 0x7f, 0, 0, 0, 0, 0, 0, 1, 0, 0}
	require.Equal(t, len(request), codec.Next(history.Request, request, &m))
	assert.Equal(t, "Api32512", m.Kind)
	response := []byte{0, 0, 0, 5, 0, 0, 0, 1, 42}
	require.Equal(t, len(response), codec.Next(history.Response, response, &m))
	assert.Equal(t, "Api32512", m.Kind)
	assert.False(t, codec.Opaque())
}
