package stack

import (
	"io"
	"os"
	"strings"
)

// tailBytes bounds how much of a log's end is read for its last lines.
const tailBytes = 64 << 10

// lastLines returns at most the last n lines of the file; none when it cannot be read.
func lastLines(path string, n int) []string {
	file, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil
	}
	from := max(info.Size()-tailBytes, 0)
	data, err := io.ReadAll(io.NewSectionReader(file, from, tailBytes))
	if err != nil {
		return nil
	}
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	if from > 0 {
		lines = lines[1:] // cut in the middle
	}
	return lines[max(len(lines)-n, 0):]
}

// quoteLog renders log lines for the end of an error.
func quoteLog(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return "\nlast lines of its log:\n\t" + strings.Join(lines, "\n\t")
}
