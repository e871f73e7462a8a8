package broker

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestPartitionOf(t *testing.T) {
	used := map[int32]int{}
	for i := range 600 {
		m := Message{Topic: "a", Key: fmt.Appendf(nil, "order-%d", i)}
		p := partitionOf(m, 6)
		m.Topic = "b"
		assert.Equal(t, p, partitionOf(m, 6), "the key alone decides")
		used[p]++
	}
	for p := range int32(6) {
		assert.InDelta(t, 100, used[p], 50, "partition %d", p)
	}
	// A stable choice: another would put an order's later events elsewhere after an upgrade.
	assert.Equal(t, int32(4), partitionOf(Message{Key: []byte("o-1")}, 6))
	five := int32(5)
	assert.Equal(t, five, partitionOf(Message{Key: []byte("o-1"), Partition: &five}, 6))
	assert.Equal(t, int32(2), partitionOf(Message{Partition: &five}, 3))
}
