package faults

import (
	"fmt"

	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/link"
)

// Reset sends RST on every connection of the links that is open at that moment. New ones are let through.
func Reset(pattern string) harness.Fault {
	return linkFault{onLinks: onLinks{pattern}, name: "reset",
		inject: func(l *link.Link) (heal, error) { l.Reset(); return nil, nil },
		judge: func(before, _ link.Measure) harness.Evidence {
			return harness.Evidence{Bit: before.Reset > 0, Effect: fmt.Sprintf("%d connections reset", before.Reset)}
		},
	}
}
