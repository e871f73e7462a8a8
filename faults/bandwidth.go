package faults

import (
	"fmt"
	"time"

	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/link"
)

// Bandwidth lets so many thousand bytes a second pass each connection of the links, in each direction.
func Bandwidth(pattern string, kiloBytes int64) harness.Fault {
	// Toxiproxy's pace is uneven within a window this short.
	limit := 1.5 * 1000 * float64(kiloBytes)
	return linkFault{onLinks: onLinks{pattern}, name: "bandwidth",
		inject: func(l *link.Link) (heal, error) {
			undo, err := l.Toxic(link.Bandwidth{KBps: kiloBytes})
			return undo, err
		},
		judge: func(_, during link.Measure) harness.Evidence {
			limit := limit * float64(during.Conns)
			// Time within the limiter, not time on a busy machine.
			wait := max(during.Request.Delayed, during.Response.Delayed)
			return harness.Evidence{
				Bit: wait >= 100*time.Millisecond && during.Request.Rate <= limit && during.Response.Rate <= limit,
				Effect: fmt.Sprintf("bytes were held back by up to %v; %.1f KB/s of requests and %.1f KB/s of responses passed on %d connections",
					milliseconds(wait), during.Request.Rate/1000, during.Response.Rate/1000, during.Conns),
			}
		},
	}
}
