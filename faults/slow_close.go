package faults

import (
	"fmt"
	"time"

	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/link"
)

// SlowClose passes the end of a connection on only after delay.
func SlowClose(pattern string, delay time.Duration) harness.Fault {
	return linkFault{onLinks: onLinks{pattern}, name: "slow-close",
		inject: func(l *link.Link) (heal, error) {
			undo, err := l.Toxic(link.SlowClose{Delay: delay})
			return undo, err
		},
		judge: func(_, during link.Measure) harness.Evidence {
			longest := max(during.Request.CloseDelay, during.Response.CloseDelay)
			return harness.Evidence{
				Bit:    longest >= delay*9/10,
				Effect: fmt.Sprintf("the slowest close was passed on after %v", longest.Round(time.Millisecond)),
			}
		},
	}
}
