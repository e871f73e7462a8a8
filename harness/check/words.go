package check

import "strconv"

// plural counts things: "1 record", "2 records".
func plural[N int | int64](count N, one, many string) string {
	if count == 1 {
		many = one
	}
	return strconv.FormatInt(int64(count), 10) + " " + many
}

// likewise says how many more there were of what was told once; empty for none.
func likewise(more int, one, many string) string {
	if more <= 0 {
		return ""
	}
	return "; " + plural(more, "later "+one, "later "+many) + " likewise"
}
