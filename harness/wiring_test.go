package harness

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/ordeal-chaos/ordeal/harness/stack"
)

// process is a node that runs or does not.
type process struct {
	stack.Node
	alive bool
}

func (p process) Alive() bool { return p.alive }

// TestLinksRefuseForWhatDoesNotRun: a service that was not started yet may listen any moment, so its link asks.
func TestLinksRefuseForWhatDoesNotRun(t *testing.T) {
	x := &experiment{nodes: map[string]stack.Node{"kafka-1": process{alive: true}, "kafka-2": process{}}}
	assert.False(t, x.down("kafka-1"))
	assert.True(t, x.down("kafka-2"))
	assert.False(t, x.down("stock"))
}
