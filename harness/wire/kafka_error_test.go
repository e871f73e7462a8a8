package wire_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ordeal-chaos/ordeal/harness/wire"
)

func TestKafkaNamesErrors(t *testing.T) {
	const unknownHere = 4321
	for code, name := range map[int16]string{
		0: "", kerr.NotEnoughReplicas.Code: "NOT_ENOUGH_REPLICAS", kerr.NotEnoughReplicasAfterAppend.Code: "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
		kerr.NotLeaderForPartition.Code: kerr.NotLeaderForPartition.Message, kerr.UnknownServerError.Code: "UNKNOWN_SERVER_ERROR", unknownHere: "4321",
	} {
		for version := int16(3); version <= 12; version++ {
			response := produceResponse()
			response.Topics[0].Partitions[0].ErrorCode = code
			_, answered := exchange(t, wire.New(wire.Kafka, wire.Options{}), 1, produceRequest(version, -1), response)
			assert.Equal(t, name, answered.Status, "version %d", version)
			assert.Equal(t, code == 0, len(answered.Records) == 1, "what failed has no offset")
			assert.Contains(t, answered.Tokens, "e-1", "an answer is known by what was asked")
		}
	}
}

func TestKafkaNamesErrorsOfEveryKind(t *testing.T) {
	const code = 16
	fetch := fetchResponse(nil)
	fetch.Topics[0].Partitions[0].ErrorCode = code
	metadata := metadataResponse()
	metadata.Topics[0].Partitions = []kmsg.MetadataResponseTopicPartition{{}, {ErrorCode: code}}
	commit := kmsg.NewPtrOffsetCommitResponse()
	commit.Topics = []kmsg.OffsetCommitResponseTopic{{Partitions: []kmsg.OffsetCommitResponseTopicPartition{{}, {ErrorCode: code}}}}
	offsets := kmsg.NewPtrOffsetFetchResponse()
	offsets.Groups = []kmsg.OffsetFetchResponseGroup{{}, {ErrorCode: code}}
	find := kmsg.NewPtrFindCoordinatorResponse()
	find.Coordinators = []kmsg.FindCoordinatorResponseCoordinator{{}, {ErrorCode: code}}
	for _, of := range []struct {
		request  kmsg.Request
		response kmsg.Response
	}{
		{kmsg.NewPtrFetchRequest(), fetch},
		{kmsg.NewPtrMetadataRequest(), metadata},
		{kmsg.NewPtrOffsetCommitRequest(), commit},
		{kmsg.NewPtrOffsetFetchRequest(), offsets},
		{kmsg.NewPtrFindCoordinatorRequest(), find},
		{kmsg.NewPtrJoinGroupRequest(), &kmsg.JoinGroupResponse{ErrorCode: code}},
		{kmsg.NewPtrSyncGroupRequest(), &kmsg.SyncGroupResponse{ErrorCode: code}},
		{kmsg.NewPtrHeartbeatRequest(), &kmsg.HeartbeatResponse{ErrorCode: code}},
		{kmsg.NewPtrConsumerGroupHeartbeatRequest(), &kmsg.ConsumerGroupHeartbeatResponse{ErrorCode: code}},
		{kmsg.NewPtrInitProducerIDRequest(), &kmsg.InitProducerIDResponse{ErrorCode: code}},
		{kmsg.NewPtrEndTxnRequest(), &kmsg.EndTxnResponse{ErrorCode: code}},
	} {
		of.request.SetVersion(of.request.MaxVersion())
		_, answered := exchange(t, wire.New(wire.Kafka, wire.Options{}), 1, of.request, of.response)
		assert.Equal(t, kerr.NotCoordinator.Message, answered.Status, answered.Kind)
	}
}

func TestKafkaProduceAcknowledgedInPart(t *testing.T) {
	request := produceRequest(9, 1)
	other := recordBatch(0)
	for i := range other { // k-0, e-0 become k-5, e-5
		if i > 1 && other[i-1] == '-' {
			other[i] += 5
		}
	}
	request.Topics[0].Partitions = append(request.Topics[0].Partitions, kmsg.ProduceRequestTopicPartition{Partition: 3, Records: other})
	answer := func(two, three int16) wire.Message {
		response := produceResponse()
		response.Topics[0].Partitions = []kmsg.ProduceResponseTopicPartition{
			{Partition: 2, BaseOffset: 40, ErrorCode: two}, {Partition: 3, BaseOffset: 7, ErrorCode: three},
		}
		asked, answered := exchange(t, wire.New(wire.Kafka, wire.Options{}), 1, request, response)
		assert.Equal(t, []string{"k-0", "e-0", "OrderPlaced", "k-1", "e-1", "k-5", "e-5", "k-6", "e-6"}, asked.Tokens)
		return answered
	}
	part := answer(kerr.NotLeaderForPartition.Code, 0)
	assert.Equal(t, kerr.NotLeaderForPartition.Message, part.Status)
	assert.Equal(t, []string{"order-events/3@7"}, part.Records)
	assert.Equal(t, []string{"k-5", "e-5", "OrderPlaced", "k-6", "e-6"}, part.Tokens, "the others were not acknowledged")

	whole := answer(0, 0)
	assert.Equal(t, []string{"order-events/2@40", "order-events/3@7"}, whole.Records)
	assert.Len(t, whole.Tokens, 9)
	none := answer(19, 19)
	assert.Empty(t, none.Records)
	assert.Len(t, none.Tokens, 9)
}
