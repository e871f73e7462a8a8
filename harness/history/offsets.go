package history

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// TopicDetail is what the Detail of a [ProbeTopic] says. Offsets rise.
type TopicDetail struct {
	Aborted []int64 // of records whose transaction was aborted
	// Cut are offsets at which the tap saw a record and the log has none at the end, Replaced those at which it has
	// another one than the tap saw first: a broker lost what it had shown to consumers. The last record of the
	// history at a replaced offset is the log's.
	Cut, Replaced []int64
	Wrong         string // in words, why the tap's view is not that of the log
}

// String writes the detail as [ParseTopicDetail] reads it: "aborted 3,7-9; cut 10-12; offset 4 is …".
func (d TopicDetail) String() string {
	var parts []string
	for _, list := range d.lists() {
		if len(*list.offsets) > 0 {
			parts = append(parts, list.name+" "+formatRanges(*list.offsets))
		}
	}
	if d.Wrong != "" {
		parts = append(parts, d.Wrong)
	}
	return strings.Join(parts, separator)
}

const separator = "; "

type offsetList struct {
	name    string
	offsets *[]int64
}

// lists are the detail's lists of offsets, in the order in which they are written.
func (d *TopicDetail) lists() [3]offsetList {
	return [...]offsetList{{"aborted", &d.Aborted}, {"cut", &d.Cut}, {"replaced", &d.Replaced}}
}

// ParseTopicDetail reads the Detail of a [ProbeTopic].
func ParseTopicDetail(probe Probe) (TopicDetail, error) {
	var d TopicDetail
	rest := probe.Detail
	for _, list := range d.lists() {
		ranges, ok := strings.CutPrefix(rest, list.name+" ")
		if !ok {
			continue
		}
		ranges, rest, _ = strings.Cut(ranges, separator)
		offsets, err := parseRanges(ranges)
		if err != nil {
			return TopicDetail{}, fmt.Errorf("parse %s offsets of %s: %w", list.name, probe.Subject, err)
		}
		*list.offsets = offsets
	}
	d.Wrong = rest
	return d, nil
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
