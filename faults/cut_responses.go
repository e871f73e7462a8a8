package faults

import (
	"fmt"

	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/link"
)

// CutResponses ends every connection of the links after so many bytes of responses, old and new ones,
// until healed. Cut in the middle of an acknowledgement, a producer sends again what is in the log.
func CutResponses(pattern string, bytes int64) harness.Fault {
	return linkFault{onLinks: onLinks{pattern}, name: "cut-responses",
		inject: func(l *link.Link) (heal, error) {
			undo, err := l.Toxic(link.LimitData{Direction: history.Response, Bytes: bytes})
			return undo, err
		},
		judge: func(before, _ link.Measure) harness.Evidence {
			return harness.Evidence{Bit: before.Limited > 0, Effect: fmt.Sprintf("%d connections ended by the limit of %d bytes of responses", before.Limited, bytes)}
		},
	}
}
