package report

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// plain makes a hostile string safe to show on one line: whatever would move the cursor, reorder the
// text or hide in it (control and format characters, invalid UTF-8) is spelled as an escape instead.
func plain(s string) string {
	if strings.IndexFunc(s, unprintable) < 0 && utf8.ValidString(s) {
		return s
	}
	var out strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&out, `\x%02x`, s[i])
		case unprintable(r):
			out.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		default:
			out.WriteString(s[i : i+size])
		}
		i += size
	}
	return out.String()
}

func unprintable(r rune) bool { return !unicode.IsGraphic(r) }

// plainLines is [plain] for text that may have several lines. Tabs become spaces.
func plainLines(s string) []string {
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\t", "    ")
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	for i, line := range lines {
		lines[i] = plain(line)
	}
	return lines
}

// shorten cuts s to at most limit runes, the last of them an ellipsis where something was cut.
func shorten(s string, limit int) string {
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	runes := []rune(s)
	return string(runes[:limit-1]) + "…"
}

// seconds writes a duration in seconds for people: "0.42 s", "41.2 s", "3 min 05 s".
func seconds(s float64) string {
	switch {
	case s < 10:
		return strconv.FormatFloat(s, 'f', 2, 64) + " s"
	case s < 120:
		return strconv.FormatFloat(s, 'f', 1, 64) + " s"
	default:
		d := time.Duration(s * float64(time.Second)).Round(time.Second)
		return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
	}
}

// clock writes a time on the history's clock: "+2.341s". Commits may be microseconds apart, but they
// are ordered by their place in the story, not by this figure.
func clock(at time.Duration) string {
	return fmt.Sprintf("+%.3fs", at.Seconds())
}

// window writes when a fault began and ended.
func (f Fault) window() string {
	began := clock(time.Duration(f.InjectedMS) * time.Millisecond)
	if f.HealedMS < f.InjectedMS {
		return began + " – never healed"
	}
	return began + " – " + clock(time.Duration(f.HealedMS)*time.Millisecond)
}

// label names the fault and what it broke: "latency on order->postgres".
func (f Fault) label() string {
	if f.Link == "" {
		return f.Name
	}
	return f.Name + " on " + f.Link
}
