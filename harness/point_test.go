package harness

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/wire"
)

// TestPointOfATopic demands that a point of a topic takes a Produce to that topic only, of whatever order, while
// the others go by the order.
func TestPointOfATopic(t *testing.T) {
	order := marked{key: "key-marked-1", order: "order-marked-1"}
	produce := func(record string, tokens ...string) wire.Message {
		return wire.Message{Direction: history.Request, Kind: "Produce", Records: []string{record}, Tokens: tokens}
	}
	of := ProduceRequest("stock").match(order)
	assert.True(t, of.Where(produce("dlt-order-events/3", "order-marked-1")))
	assert.False(t, of.Where(produce("dlt-order-events/3", "order-7")))

	to := ProduceRequestTo("stock", "dlt-order-events")
	assert.Equal(t, "Produce request of stock to dlt-order-events", to.String())
	assert.Equal(t, "stock->kafka-*", to.link())
	match := to.match(marked{})
	assert.Equal(t, "Produce", match.Kind)
	assert.True(t, match.Where(produce("dlt-order-events/3", "order-7")))
	assert.True(t, match.Where(produce("dlt-order-events/3")))
	assert.False(t, match.Where(produce("order-events/3", "order-7")))
	assert.False(t, match.Where(produce("dlt-order-events-2/3", "order-7")))
}
