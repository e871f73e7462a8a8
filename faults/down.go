package faults

import (
	"context"
	"fmt"

	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/link"
)

// Down resets the connections of the links that pattern names, and refuses new ones until healed, as
// when nothing listens on the other side.
func Down(pattern string) harness.Fault {
	return linkFault{onLinks: onLinks{pattern}, name: "down",
		inject: func(l *link.Link) (heal, error) {
			heal, err := l.Refuse()
			if err != nil {
				return nil, err
			}
			return func(context.Context) error { return heal() }, nil
		},
		moved: passed,
		judge: func(before, during link.Measure) harness.Evidence {
			passed := passed(during)
			return harness.Evidence{
				Bit:    before.Reset > 0 && passed == 0,
				Effect: fmt.Sprintf("%d connections reset, then %d bytes passed in %v", before.Reset, passed, milliseconds(during.Duration)),
			}
		},
	}
}

// passed counts the bytes that a link delivered, in both directions.
func passed(m link.Measure) int64 { return m.Request.Delivered + m.Response.Delivered }
