package check

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A story that is too long keeps what is near its proof, and says what it lacks and where.
func TestStorySaysWhatItLeavesOut(t *testing.T) {
	const events = 200
	tell := func(n int64, proof ...int64) []Moment {
		teller := &teller{proof: map[int64]bool{}}
		for seq := n; seq > 0; seq-- {
			m := Moment{At: time.Duration(seq) * time.Millisecond, Source: "orders", What: "row", Seq: seq}
			teller.told = append(teller.told, m, m) // found twice
		}
		return teller.shorten(proof)
	}
	gaps := func(story []Moment) map[string]time.Duration {
		found := map[string]time.Duration{}
		for i, m := range story {
			if m.Seq == 0 {
				found[m.What] = m.At
				continue
			}
			if i > 0 && story[i-1].Seq != 0 {
				require.Equal(t, story[i-1].Seq+1, m.Seq, "a gap that is not told")
			}
		}
		return found
	}

	short := tell(storyLength, 7)
	require.Len(t, short, storyLength)
	require.Empty(t, gaps(short))

	story := tell(events, 50, 150)
	require.Len(t, story, storyLength+3)
	require.Equal(t, map[string]time.Duration{
		"… 39 earlier events left out": time.Millisecond,
		"… 80 events left out":         61 * time.Millisecond,
		"… 41 later events left out":   160 * time.Millisecond,
	}, gaps(story))

	one := tell(storyLength+1, 1)
	require.Equal(t, map[string]time.Duration{"… 1 later event left out": (storyLength + 1) * time.Millisecond}, gaps(one))
	require.Contains(t, gaps(tell(storyLength+1, storyLength+1)), "… 1 earlier event left out")
}
