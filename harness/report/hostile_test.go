package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/harness/check"
)

// hostile tries to get out of every format at once: HTML, XML, CDATA, Markdown tables and fences, and
// the terminal. The marker in it tells where it ended up.
const hostile = "MARK</title></style></script><script>alert(1)</script><img src=x onerror=alert(1)>\"'`" +
	"]]><!-- --> &amp; |a|b| ``` ~~~ [x](javascript:alert(1)) **b** {{.}} \x1b[2J\x1b]0;t\a \x00\x07\u202e\u2028 \xff\xfe é 🧨\r\n# heading\n- item"

// poison sets every string under v, adds one item to every list, and counts them.
func poison(v reflect.Value) int {
	switch v.Kind() {
	case reflect.String:
		v.SetString(hostile)
		return 1
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		return poison(v.Index(0))
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{hostile: hostile}))
		return 2
	case reflect.Struct:
		n := 0
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				n += poison(v.Field(i))
			}
		}
		return n
	case reflect.Int64:
		v.SetInt(1)
	}
	return 0
}

// hostileRun is a run whose every string is hostile, with the given verdict everywhere.
func hostileRun(t *testing.T, verdict check.Verdict) Run {
	t.Helper()
	var run Run
	require.Greater(t, poison(reflect.ValueOf(&run).Elem()), 25, "strings poisoned")
	run.Started = fixture().Started
	run.Verdict, run.Scenarios[0].Verdict = verdict, verdict
	run.Scenarios[0].Guarantees[0].Verdict = verdict
	return run
}

func verdicts(t *testing.T, test func(t *testing.T, run Run)) {
	t.Helper()
	for _, v := range []check.Verdict{check.Pass, check.Fail, check.Unknown} {
		t.Run(v.String(), func(t *testing.T) { test(t, hostileRun(t, v)) })
	}
}

func written(t *testing.T, write func(io.Writer, Run) error, run Run) string {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, write(&out, run))
	return out.String()
}

// requirePrintable says that the text cannot move a cursor, hide or reorder anything.
func requirePrintable(t *testing.T, text string) {
	t.Helper()
	require.True(t, utf8.ValidString(text), "valid UTF-8")
	for i, r := range text {
		require.Falsef(t, r != '\n' && unprintable(r), "%q at byte %d of …%q", r, i, text[max(0, i-40):i])
	}
}

func TestHostileHTML(t *testing.T) {
	// Every tag that the template itself writes; a tag of the attacker is none of them, or has attributes
	// that none of ours has.
	ours := regexp.MustCompile(`^</?(html|head|meta|title|style|body|header|p|h1|h2|h3|span|dl|div|dt|dd|time|code|main|table|thead|tbody|tr|th|td|a|details|summary|strong|section|pre|ul|li|em|figure|figcaption|svg|g|rect|path|text)(\s|>|/)`)
	tags := regexp.MustCompile(`<[a-zA-Z/!][^>]*>?`)
	verdicts(t, func(t *testing.T, run Run) {
		page := written(t, WriteHTML, run)
		requirePrintable(t, page)
		require.Contains(t, page, "MARK&lt;/title&gt;")
		require.NotContains(t, page, "MARK<")
		for _, tag := range tags.FindAllString(page, -1)[1:] { // after the doctype
			require.Regexp(t, ours, tag)
			require.NotRegexp(t, `(?i)\son[a-z]+\s*=`, tag)
			require.NotRegexp(t, `(?i)(src|href)\s*=\s*["']?\s*(javascript|https?|data|//)`, tag)
		}
	})
}

func TestHTMLNeedsNoNetwork(t *testing.T) {
	page := written(t, WriteHTML, fixture())
	require.NotRegexp(t, `(?i)https?://|<script|<link|<iframe|@import|url\(`, page)
	require.Contains(t, page, `content="default-src 'none'; style-src 'unsafe-inline'`)
}

func TestHostileJUnit(t *testing.T) {
	verdicts(t, func(t *testing.T, run Run) {
		text := written(t, WriteJUnit, run)
		requirePrintable(t, text)
		decoder := xml.NewDecoder(strings.NewReader(text))
		var attributes int
		for {
			token, err := decoder.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			if start, ok := token.(xml.StartElement); ok {
				require.Contains(t, []string{"testsuites", "testsuite", "properties", "property", "testcase", "failure", "error", "skipped", "system-out"}, start.Name.Local)
				attributes += len(start.Attr)
			}
		}
		require.Positive(t, attributes)
	})
}

func TestHostileMarkdown(t *testing.T) {
	verdicts(t, func(t *testing.T, run Run) {
		text := written(t, WriteMarkdown, run)
		requirePrintable(t, text)
		fence, columns := "", 0
		for _, line := range strings.Split(text, "\n") {
			switch {
			case fence != "":
				if line == fence {
					fence = ""
				} else {
					require.False(t, strings.HasPrefix(strings.TrimSpace(line), fence), "a line that would end the fence: %s", line)
				}
			case strings.HasPrefix(line, "```"):
				fence = strings.TrimSuffix(line, "text")
			default:
				require.NotContains(t, line, "<", "HTML outside a fence")
				require.NotRegexp(t, `(^|[^\\])\]\(`, line, "a link outside a fence")
				bars := strings.Count(line, "|") - strings.Count(line, `\|`)
				if strings.HasPrefix(line, "|") && columns != 0 {
					require.Equal(t, columns, bars, "a cell broke its table: %s", line)
				}
				columns = bars
			}
		}
		require.Empty(t, fence, "a fence is left open")
	})
}

func TestHostileTerminal(t *testing.T) {
	verdicts(t, func(t *testing.T, run Run) {
		requirePrintable(t, written(t, func(w io.Writer, r Run) error { return WriteTerminal(w, r, false) }, run))
		requirePrintable(t, Tell(run.Scenarios[0]))
	})
}

// JSON keeps what was sent, so that a program can look an order up by its id.
func TestHostileJSON(t *testing.T) {
	verdicts(t, func(t *testing.T, run Run) {
		var back jsonRun
		require.NoError(t, json.Unmarshal([]byte(written(t, WriteJSON, run)), &back))
		want := strings.ToValidUTF8(hostile, "\ufffd")
		want = strings.ReplaceAll(want, "\ufffd", "")
		require.Equal(t, want, strings.ReplaceAll(back.Scenarios[0].Anomalies[0].Subject, "\ufffd", ""))
	})
}
