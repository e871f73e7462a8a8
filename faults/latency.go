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
			trips := during.RoundTrips
			return harness.Evidence{
				Bit:    trips.Count >= 3 && trips.P50 >= least,
				Effect: fmt.Sprintf("%d round trips, half of them longer than %v (%v was added at least)", trips.Count, trips.P50.Round(100*time.Microsecond), least),
			}
		},
	}
}
