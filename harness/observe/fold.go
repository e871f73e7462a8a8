package observe

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// fold is the content of a table as its recorded changes add up to: how often each whole row is there.
// Counting whole rows needs no primary key. A change that does not fit leaves a count that no table
// has, zero being the only one that is forgotten.
type fold struct {
	rows    map[string]int
	changes int64
	broken  string // why the changes do not add up to a content, or empty
}

func newFold() *fold { return &fold{rows: make(map[string]int)} }

func (f *fold) apply(row history.Row) {
	f.changes++
	switch row.Action {
	case "insert":
		f.add(row.After, 1)
	case "update":
		f.add(row.Before, -1)
		f.add(row.After, 1)
	case "delete":
		f.add(row.Before, -1)
	case "truncate":
		clear(f.rows)
	}
	if row.Before == nil && (row.Action == "update" || row.Action == "delete") {
		f.broken = "the log has no whole old rows: the table needs REPLICA IDENTITY FULL"
	}
}

func (f *fold) add(columns history.Columns, n int) {
	key := canonical(columns)
	if f.rows[key] += n; f.rows[key] == 0 {
		delete(f.rows, key)
	}
}

// size is the number of rows.
func (f *fold) size() int64 {
	var n int
	for _, count := range f.rows {
		n += count
	}
	return int64(n)
}

// difference says in words how the table differs from the fold, or "" when it does not: the first
// differing row in the order of the columns' names and values, and how many there are.
func (f *fold) difference(table *fold) string {
	if f.broken != "" {
		return f.broken
	}
	if maps.Equal(f.rows, table.rows) {
		return ""
	}
	var differing []string
	for key, n := range f.rows {
		if table.rows[key] != n {
			differing = append(differing, key)
		}
	}
	for key := range table.rows {
		if _, both := f.rows[key]; !both {
			differing = append(differing, key)
		}
	}
	first := slices.Min(differing)
	return fmt.Sprintf("row {%s} is %d times in the table and %d times in the fold of the log; %d rows differ",
		first, table.rows[first], f.rows[first], len(differing))
}

// canonical writes a row so that two rows are equal exactly when their texts are.
func canonical(columns history.Columns) string {
	var b strings.Builder
	for i, name := range slices.Sorted(maps.Keys(columns)) {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(name)
		b.WriteByte('=')
		b.WriteString(strconv.Quote(columns[name]))
	}
	return b.String()
}
