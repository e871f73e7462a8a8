package history

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// aborted begins the Detail of a ProbeTopic that has aborted records.
const aborted = "aborted "

// TopicDetail writes the Detail of a [ProbeTopic]: the offsets of aborted records, in rising order, as
// a list of ranges ("aborted 3,7-9"), and in words what is wrong, if anything, after a semicolon.
func TopicDetail(offsets []int64, wrong string) string {
	var parts []string
	if len(offsets) > 0 {
		parts = append(parts, aborted+formatRanges(offsets))
	}
	if wrong != "" {
		parts = append(parts, wrong)
	}
	return strings.Join(parts, "; ")
}

// AbortedOffsets are the offsets that the Detail of a [ProbeTopic] lists, in rising order.
func AbortedOffsets(probe Probe) ([]int64, error) {
	list, ok := strings.CutPrefix(probe.Detail, aborted)
	if !ok {
		return nil, nil
	}
	list, _, _ = strings.Cut(list, ";")
	offsets, err := parseRanges(list)
	if err != nil {
		return nil, fmt.Errorf("parse aborted offsets of %s: %w", probe.Subject, err)
	}
	return offsets, nil
}

func formatRanges(offsets []int64) string {
	var b strings.Builder
	for len(offsets) > 0 {
		n := 1
		for n < len(offsets) && offsets[n] == offsets[n-1]+1 {
			n++
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatInt(offsets[0], 10))
		if n > 1 {
			b.WriteString("-" + strconv.FormatInt(offsets[n-1], 10))
		}
		offsets = offsets[n:]
	}
	return b.String()
}

func parseRanges(list string) ([]int64, error) {
	var offsets []int64
	for item := range strings.SplitSeq(list, ",") {
		low, high, isRange := strings.Cut(item, "-")
		if !isRange {
			high = low
		}
		first, err := strconv.ParseInt(low, 10, 64)
		if err != nil {
			return nil, err
		}
		last, err := strconv.ParseInt(high, 10, 64)
		if err != nil {
			return nil, err
		}
		if last < first || last-first > maxRange {
			return nil, fmt.Errorf("range %q is not one", item)
		}
		for offset := first; offset <= last; offset++ {
			offsets = append(offsets, offset)
		}
	}
	if !slices.IsSorted(offsets) {
		return nil, fmt.Errorf("offsets %q are not in order", list)
	}
	return offsets, nil
}

// maxRange keeps a damaged file from filling the memory.
const maxRange = 1 << 24
