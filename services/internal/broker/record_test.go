package broker

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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

func TestPositions(t *testing.T) {
	p := newPositions()
	var sent []map[string]map[int]int64
	var fail error
	send := func(offsets map[string]map[int]int64) error {
		sent = append(sent, offsets)
		return fail
	}
	require.NoError(t, p.commit(send))
	assert.Empty(t, sent, "nothing to commit")

	p.advance("t", 1, 5)
	p.advance("t", 2, 7)
	fail = errors.New("no coordinator")
	require.ErrorIs(t, p.commit(send), fail)
	p.advance("t", 1, 6) // while the commit of 5 failed
	fail = nil
	require.NoError(t, p.commit(send))
	require.NoError(t, p.commit(send))
	require.Len(t, sent, 2)
	assert.Equal(t, map[string]map[int]int64{"t": {1: 6, 2: 7}}, sent[1])
}
