package faults

import (
	"fmt"
	"time"

	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/link"
)

// Stall lets nothing pass the links in either direction, and loses nothing: what was sent arrives when
// healed. It is a network partition that heals before connections time out.
func Stall(pattern string) harness.Fault {
	return stall(pattern, "stall", history.Request, history.Response)
}

// StallRequests stalls what the clients of the links send; answers still pass.
func StallRequests(pattern string) harness.Fault {
	return stall(pattern, "stall-requests", history.Request)
}

// StallResponses stalls what the servers of the links answer: requests arrive and take effect, and their
// senders never learn of it.
func StallResponses(pattern string) harness.Fault {
	return stall(pattern, "stall-responses", history.Response)
}

func stall(pattern, name string, directions ...string) harness.Fault {
	stalled := func(m link.Measure) (offered, delivered int64, wait time.Duration) {
		for _, direction := range directions {
			traffic := m.Request
			if direction == history.Response {
				traffic = m.Response
			}
			offered += traffic.Offered
			delivered += traffic.Delivered
			wait = max(wait, traffic.Wait)
		}
		return offered, delivered, wait
	}
	return linkFault{onLinks: onLinks{pattern}, name: name,
		inject: func(l *link.Link) (heal, error) { return healed(l.Stall(directions...)), nil },
		moved:  func(m link.Measure) int64 { _, delivered, _ := stalled(m); return delivered },
		judge: func(_, during link.Measure) harness.Evidence {
			offered, delivered, wait := stalled(during)
			return harness.Evidence{
				Bit:    offered > 0 && delivered == 0 && wait >= during.Duration/3,
				Effect: fmt.Sprintf("%d bytes offered, %d delivered in %v; the first waited %v", offered, delivered, milliseconds(during.Duration), milliseconds(wait)),
			}
		},
	}
}
