package faults

import (
	"fmt"
	"time"

	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/link"
)

// Latency delays what passes the links by delay ± jitter, in each direction.
func Latency(pattern string, delay, jitter time.Duration) harness.Fault {
	// A round trip is delayed twice, each time by at least this much.
	least := 2 * (delay - jitter)
	return linkFault{onLinks: onLinks{pattern}, name: "latency",
		inject: func(l *link.Link) (heal, error) {
			undo, err := l.Toxic(link.Latency{Delay: delay, Jitter: jitter})
			return undo, err
		},
		judge: func(_, during link.Measure) harness.Evidence {
			// One that was on its way when the fault came was delayed once, or not at all.
			trips := during.RoundTrips
			return harness.Evidence{
				// Both: a round trip can be slow without the fault, and a delayed byte is not yet a round trip.
				Bit: trips.Whole >= 3 && trips.WholeMin >= least && min(during.Request.Delayed, during.Response.Delayed) >= delay-jitter,
				Effect: fmt.Sprintf("%d round trips began and ended in the window, the fastest took %v (%v was added at least)",
					trips.Whole, trips.WholeMin.Round(100*time.Microsecond), least),
			}
		},
	}
}
