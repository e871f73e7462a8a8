package link_test

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/ordeal-chaos/ordeal/harness/link"
	"github.com/ordeal-chaos/ordeal/harness/wire"
)

// TestUnreadCountsWhatTheTapCannotUnderstand with an echo for a server: its answer to a request of a later
// version cannot be read either, and after an answer to nothing the connection is not understood at all.
func TestUnreadCountsWhatTheTapCannotUnderstand(t *testing.T) {
	frame := func(version uint16) string {
		b := binary.BigEndian.AppendUint32(nil, 8) // size
		b = binary.BigEndian.AppendUint16(b, 0)    // Produce, or the first half of correlation id 99
		b = binary.BigEndian.AppendUint16(b, version)
		return string(binary.BigEndian.AppendUint32(b, uint32(version)))
	}
	kafka := open(t, link.Config{Protocol: wire.Kafka, Upstream: serve(t, echo)})
	window := kafka.Watch()
	client := dial(t, kafka.Addr())
	ping(t, client, frame(99))
	assert.Equal(t, int64(2), window.Measure().Unread, "request and answer")
	ping(t, client, "neither is this a frame")
	assert.GreaterOrEqual(t, window.Measure().Unread, int64(4))

	raw := open(t, link.Config{Upstream: serve(t, echo)})
	window = raw.Watch()
	ping(t, dial(t, raw.Addr()), "a link that reads nothing leaves nothing unread")
	assert.Zero(t, window.Measure().Unread)
}
