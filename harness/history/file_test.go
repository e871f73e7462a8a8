package history

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// every is one event of every kind, with every field set.
var every = []Event{
	{Op: &Op{ID: 7, Type: OK, Client: "c", Action: Place, Link: "client->order", Key: "k", Attempt: 2, Order: "o", Reservation: "r", Lines: []Line{{"sku", 3}}, Status: 201, State: "PENDING", Error: "e"}},
	{Row: &Row{Database: "orders", Table: "orders", LSN: 1 << 40, Xid: 9, Action: "update", Before: Columns{"a": "1"}, After: Columns{"a": "2", "b": "quoted \" \\ \n é \u2028"}}},
	{Record: &Record{Topic: "t", Partition: 3, Offset: 4, Key: Bytes("k"), Headers: map[string]string{"h": "v"}, Value: Bytes{0xff, 0x00, 0x80}, Aborted: true, Injected: true}},
	{Record: &Record{Topic: "t", Value: Bytes(`{"base64":"not that"}`)}},
	{Fault: &Fault{ID: 1, Name: "down", Target: "a->b", Stage: Observed, Bit: true, Evidence: "3 refused", Error: "e"}},
	{Process: &Process{Name: "order", PID: 12, State: Exited, Signal: "killed", Code: 137}},
	{Wire: &Wire{Link: "a->b", Conn: 1, Msg: 2, Direction: Request, Kind: "COMMIT", Forwarded: true, Held: "held", Status: "I", Tokens: []string{"o"}, Records: []string{"t/0@1"}, Began: time.Second, Size: 5}},
	{Probe: &Probe{Name: ProbeTap, Subject: "topics", OK: true, Numbers: map[string]int64{"n": -1}, Detail: "d"}},
	{Phase: &Phase{Name: Heal}},
}

func read(t *testing.T, path string) (Header, []Event, error) {
	t.Helper()
	var events []Event
	header, err := Read(path, func(e Event) error { events = append(events, e); return nil })
	return header, events, err
}

func TestRoundTripOfEveryKind(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.jsonl")
	want := Header{
		Scenario: "s", Design: "d", Without: []string{"outbox"}, Seed: 1 << 63, Backend: "embedded",
		Versions: map[string]string{"postgres": "17"}, Started: time.Unix(1, 2).UTC(), Exercises: []string{"I1"},
		Services: []Service{{Name: "order", Database: "orders", Group: "order", Consumes: []string{"a"}, Produces: []string{"b"}}}, Repeat: "r",
	}
	recorder, err := Create(path, want)
	require.NoError(t, err)
	var watched []Event
	recorder.Watch(func(e Event) { watched = append(watched, e) })
	for i, event := range every {
		assert.EqualValues(t, i+1, recorder.Append(event))
	}
	require.NoError(t, recorder.Close())
	require.NoError(t, recorder.Close(), "closing twice is harmless")
	header, events, err := read(t, path)
	require.NoError(t, err)
	want.Schema = Schema
	assert.Equal(t, want, header)
	assert.Equal(t, watched, events)
	for i, event := range events {
		assert.EqualValues(t, i+1, event.Seq)
		event.Seq, event.At = 0, 0
		assert.Equal(t, every[i], event)
	}
}

func TestReadKeepsOrderOverManyChunks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.jsonl")
	const events = 5000 // about ten chunks
	save(t, path, events)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Greater(t, info.Size(), int64(4*chunkSize))
	_, got, err := read(t, path)
	require.NoError(t, err)
	require.Len(t, got, events)
	for i, event := range got {
		want := sample(i)
		want.Seq, want.At = int64(i+1), event.At
		require.Equal(t, want, event)
	}
}

func TestReadOfALineLargerThanAChunk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.jsonl")
	recorder, err := Create(path, Header{})
	require.NoError(t, err)
	large := Event{Record: &Record{Value: Bytes(strings.Repeat("x", 3*chunkSize))}}
	recorder.Append(every[0])
	recorder.Append(large)
	recorder.Append(every[1])
	require.NoError(t, recorder.Close())
	_, events, err := read(t, path)
	require.NoError(t, err)
	require.Len(t, events, 3)
	assert.Equal(t, large.Record, events[1].Record)
}

func TestDamagedFiles(t *testing.T) {
	const events = 3000
	whole := filepath.Join(t.TempDir(), "whole.jsonl")
	save(t, whole, events)
	content, err := os.ReadFile(whole)
	require.NoError(t, err)
	lines := strings.SplitAfter(strings.TrimSuffix(string(content), "\n"), "\n")
	last := len(lines)
	without := func(line int) []string { return append(append([]string{}, lines[:line-1]...), lines[line:]...) }
	replace := func(line int, with string) []string {
		return append(append(append([]string{}, lines[:line-1]...), with), lines[line:]...)
	}
	cases := map[string]struct {
		lines  []string
		line   int
		reason string
	}{
		"empty file":         {nil, 1, "torn line of 0 bytes"},
		"no header":          {lines[1:], 1, "schema 0, this program reads 1"},
		"newer schema":       {replace(1, `{"ordeal_history":2}`+"\n"), 1, "schema 2, this program reads 1"},
		"torn header":        {[]string{`{"ordeal_history":1`}, 1, "torn line of 19 bytes"},
		"damaged middle":     {replace(1700, `{"seq":1699,"at":1,"op":{"id":}}`+"\n"), 1700, ""},
		"empty line":         {replace(2500, "\n"), 2500, ""},
		"garbage after":      {replace(1200, `{"seq":1199}x`+"\n"), 1200, ""},
		"wrong type":         {replace(1200, `{"seq":"1199"}`+"\n"), 1200, ""},
		"line missing":       {without(2000), 2000, "event 2000 follows event 1998: lines are missing"},
		"first line missing": {without(2), 2, "event 2 follows event 0: lines are missing"},
		"line twice":         {replace(2001, lines[1999]), 2001, "event 1999 follows event 1999"},
		"torn last line":     {replace(last, lines[last-1][:40]), last, "torn line of 40 bytes"},
		"no last newline":    {replace(last, strings.TrimSuffix(lines[last-1], "\n")), last, "torn line of"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "history.jsonl")
			require.NoError(t, os.WriteFile(path, []byte(strings.Join(c.lines, "")), 0o600))
			_, got, err := read(t, path)
			var damaged *DamagedError
			require.ErrorAs(t, err, &damaged)
			assert.Equal(t, c.line, damaged.Line)
			assert.Equal(t, path, damaged.Path)
			assert.Contains(t, err.Error(), fmt.Sprintf("line %d: ", c.line))
			assert.Contains(t, err.Error(), c.reason)
			assert.Len(t, got, max(c.line-2, 0), "what comes before the damage is delivered")
		})
	}
}

func TestReadOfHeaderAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.jsonl")
	save(t, path, 0)
	_, events, err := read(t, path)
	require.NoError(t, err)
	assert.Empty(t, events)
}

func TestReadStopsAtTheFirstErrorOfItsCaller(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.jsonl")
	save(t, path, 5000)
	enough, n := errors.New("enough"), 0
	_, err := Read(path, func(Event) error {
		if n++; n == 3 {
			return enough
		}
		return nil
	})
	require.ErrorIs(t, err, enough)
	assert.Equal(t, 3, n)
	_, err = Read(filepath.Join(t.TempDir(), "none"), nil)
	require.ErrorIs(t, err, os.ErrNotExist)
}

// The reader decodes with another library than the recorder encodes with: on damaged lines too, they
// must agree on what an event is.
func FuzzDecodersAgree(f *testing.F) {
	for _, event := range every {
		line, err := json.Marshal(event)
		require.NoError(f, err)
		f.Add(line)
		f.Add(line[:len(line)/2])
	}
	f.Add([]byte(`{"seq":1}x`))
	f.Add([]byte(`{"seq":01}`))
	f.Add([]byte("{\"row\":{\"table\":\"\x01\"}}"))
	f.Fuzz(func(t *testing.T, line []byte) {
		if strings.ContainsRune(string(line), '\n') {
			return // one line is one event
		}
		var want Event
		err := json.Unmarshal(line, &want)
		c := chunk{data: append(append([]byte{}, line...), '\n')}
		c.decode()
		if err != nil {
			require.Error(t, c.err, "%s: %v", line, err)
			return
		}
		require.NoError(t, c.err, "%s", line)
		require.Equal(t, []Event{want}, c.events)
	})
}

func TestWriteErrorsAreKept(t *testing.T) {
	recorder, err := Create(filepath.Join(t.TempDir(), "history.jsonl"), Header{})
	require.NoError(t, err)
	require.NoError(t, recorder.file.Close())
	for range 1000 {
		recorder.Append(every[1])
	}
	require.ErrorIs(t, recorder.Close(), os.ErrClosed)
}

func TestTopicDetail(t *testing.T) {
	for detail, want := range map[string]TopicDetail{
		"":                               {},
		"aborted 3":                      {Aborted: []int64{3}},
		"aborted 3,7-9":                  {Aborted: []int64{3, 7, 8, 9}},
		"aborted 0-1,3":                  {Aborted: []int64{0, 1, 3}},
		"aborted 4; offset 5 was missed": {Aborted: []int64{4}, Wrong: "offset 5 was missed"},
		"offset 5 was missed":            {Wrong: "offset 5 was missed"},
		"cut 7-8":                        {Cut: []int64{7, 8}},
		"aborted 1; cut 7-8; replaced 5-6; offset 9 was missed": {
			Aborted: []int64{1}, Cut: []int64{7, 8}, Replaced: []int64{5, 6}, Wrong: "offset 9 was missed",
		},
	} {
		got, err := ParseTopicDetail(Probe{Detail: detail})
		require.NoError(t, err, detail)
		assert.Equal(t, want, got, detail)
		assert.Equal(t, detail, want.String())
	}
	for _, detail := range []string{"aborted ", "aborted x", "cut 3-", "replaced 9-7", "aborted 7,3", "aborted 0-99999999999", "cut 1; replaced x"} {
		_, err := ParseTopicDetail(Probe{Subject: "t/0", Detail: detail})
		assert.ErrorContains(t, err, "t/0", detail)
	}
}
