package wire_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ordeal-chaos/ordeal/harness/wire"
)

// TestKafkaTransactionsAreKnownByTheirID pairs what a transactional producer appends with what ends it.
func TestKafkaTransactionsAreKnownByTheirID(t *testing.T) {
	codec := wire.New(wire.Kafka, wire.Options{})
	id := "order-tx-1"
	produce := produceRequest(9, -1)
	produce.TransactionID = &id
	asked, answered := exchange(t, codec, 1, produce, produceResponse())
	assert.Contains(t, asked.Tokens, id)
	assert.Contains(t, answered.Tokens, id)

	end := kmsg.NewPtrEndTxnRequest()
	end.SetVersion(3)
	end.TransactionalID = id
	asked, answered = exchange(t, codec, 2, end, kmsg.NewPtrEndTxnResponse())
	assert.Equal(t, "EndTxn", asked.Kind)
	assert.Equal(t, []string{id}, asked.Tokens)
	assert.Equal(t, []string{id}, answered.Tokens)

	for _, request := range []kmsg.Request{kmsg.NewPtrInitProducerIDRequest(), kmsg.NewPtrAddPartitionsToTxnRequest()} {
		asked, _ = exchange(t, codec, 3, request, request.ResponseKind())
		assert.Contains(t, []string{"InitProducerID", "AddPartitionsToTxn"}, asked.Kind)
	}
}
