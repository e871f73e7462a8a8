package matrix_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/harness/check"
	"github.com/ordeal-chaos/ordeal/harness/matrix"
	"github.com/ordeal-chaos/ordeal/harness/price"
)

// TestWilson compares with values that are published, or follow from the formula by hand.
func TestWilson(t *testing.T) {
	for _, known := range []struct {
		k, n      int
		low, high float64
	}{
		{0, 0, 0, 1},
		{0, 10, 0, 0.277533}, // z²/(n+z²)
		{10, 10, 0.722467, 1},
		{1, 1, 0.206549, 1},
		{5, 10, 0.236593, 0.763407},
		{81, 263, 0.255271, 0.366168}, // Newcombe (1998), table I: 0.2553 to 0.3662
		{15, 148, 0.062386, 0.160518}, // 0.0624 to 0.1605
		{1, 29, 0.006113, 0.171755},   // 0.0061 to 0.1718
		{0, 20, 0, 0.161125},          // 0 to 0.1611
	} {
		low, high := matrix.Wilson(known.k, known.n)
		assert.InDelta(t, known.low, low, 5e-5, "%d of %d", known.k, known.n)
		assert.InDelta(t, known.high, high, 5e-5, "%d of %d", known.k, known.n)
	}
}

// settings of two designs and two scenarios; the second design lacks what the second scenario needs.
func settings() matrix.Settings {
	return matrix.Settings{
		Seed: 40, Repeat: 3, Backend: "embedded", Versions: map[string]string{"broker": "kfake v1"},
		Designs: []matrix.Design{
			{Name: "sound", Parts: "a+b", Lacks: []string{}, Described: true, Breaks: []string{}},
			{Name: "after-commit", Parts: "a+c", Lacks: []string{"sweeper"}, Described: true, Expects: "A kill loses events.", Breaks: []string{check.LostEvent, check.StuckOrder}},
		},
		Scenarios: []matrix.Scenario{{Name: "killed", Code: "K"}, {Name: "reserved", Code: "R"}},
		Absent:    []matrix.Absence{{Design: "after-commit", Scenario: "reserved", Why: "needs reservations"}},
	}
}

func run(design, scenario string, repeat int, verdict check.Verdict, anomalies ...string) matrix.Run {
	r := matrix.Run{Design: design, Scenario: scenario, Repeat: repeat, Seed: 40 + uint64(repeat), Verdict: verdict, Anomalies: anomalies, Command: "ordeal run"}
	switch verdict {
	case check.Pass:
		r.Held = []string{"no-lost-event", "orders-end"}
	case check.Fail:
		r.Held, r.Broken = []string{"orders-end"}, []string{"no-lost-event"}
	default:
		r.Reason = "no baseline"
	}
	return r
}

func TestJobs(t *testing.T) {
	jobs := settings().Jobs()
	assert.Len(t, jobs, 9)
	assert.Equal(t, matrix.Job{Design: "sound", Scenario: "killed", Repeat: 0, Seed: 40}, jobs[0])
	assert.Equal(t, matrix.Job{Design: "after-commit", Scenario: "killed", Repeat: 0, Seed: 40}, jobs[1], "the same seed in every design")
	assert.Equal(t, matrix.Job{Design: "sound", Scenario: "reserved", Repeat: 2, Seed: 42}, jobs[8])
}

func TestCells(t *testing.T) {
	const design = "sound"
	pass, fail, unknown := check.Pass, check.Fail, check.Unknown
	for name, c := range map[string]struct {
		verdicts []check.Verdict
		kind     matrix.Kind
		runs, of int
		unknown  int
	}{
		"all held":           {[]check.Verdict{pass, pass, pass}, matrix.Holds, 0, 3, 0},
		"one broke":          {[]check.Verdict{pass, fail, pass}, matrix.Breaks, 1, 3, 0},
		"broke, and unknown": {[]check.Verdict{unknown, fail, pass}, matrix.Breaks, 1, 2, 1},
		"held, and unknown":  {[]check.Verdict{pass, unknown, pass}, matrix.Unknown, 0, 2, 1},
		"nothing known":      {[]check.Verdict{unknown, unknown, unknown}, matrix.Unknown, 0, 0, 3},
		"not all were made":  {[]check.Verdict{pass}, matrix.Unknown, 0, 1, 0},
		"none was made":      {nil, matrix.Unknown, 0, 0, 0},
	} {
		var runs []matrix.Run
		for i, verdict := range c.verdicts {
			var anomalies []string
			if verdict == fail {
				anomalies = []string{check.LostEvent}
			}
			runs = append(runs, run(design, "killed", i, verdict, anomalies...))
		}
		cell := matrix.Judge(settings(), runs, nil).Rows[0].Cells[0]
		assert.Equal(t, c.kind, cell.Kind, name)
		assert.Equal(t, [3]int{c.runs, c.of, c.unknown}, [3]int{cell.Broke.Runs, cell.Broke.Of, cell.Unknown}, name)
		if c.unknown > 0 {
			assert.Contains(t, cell.Why, "no baseline", name)
		}
	}
	absent := matrix.Judge(settings(), nil, nil).Rows[1].Cells[1]
	assert.Equal(t, matrix.NotApplicable, absent.Kind)
	assert.Equal(t, []string{"needs reservations"}, absent.Why)
}

func TestExpectations(t *testing.T) {
	m := matrix.Judge(settings(), []matrix.Run{
		run("sound", "killed", 0, check.Fail, check.DoubleEffect),
		run("sound", "reserved", 0, check.Pass),
		run("after-commit", "killed", 0, check.Fail, check.LostEvent),
		run("after-commit", "killed", 1, check.Fail, check.PhantomEvent, check.LostEvent),
		run("after-commit", "killed", 2, check.Pass),
	}, nil)
	sound, other := m.Rows[0], m.Rows[1]
	require.Len(t, sound.Anomalies, 1)
	assert.True(t, sound.Anomalies[0].Unexpected, "nothing is expected of the sound design")
	assert.Equal(t, []string{"no-lost-event"}, sound.Broken)
	assert.Equal(t, []string{"orders-end"}, sound.Held, "what broke once does not hold, though it held elsewhere")

	require.Len(t, other.Anomalies, 2)
	assert.Equal(t, check.LostEvent, other.Anomalies[0].Name, "the most frequent first")
	assert.Equal(t, [2]int{2, 3}, [2]int{other.Anomalies[0].Runs, other.Anomalies[0].Of})
	assert.False(t, other.Anomalies[0].Unexpected)
	assert.True(t, other.Anomalies[1].Unexpected)
	assert.Equal(t, []string{check.StuckOrder}, other.Never)
	assert.Equal(t, 3, m.Differences)

	undescribed := settings()
	undescribed.Designs[1].Described = false
	m = matrix.Judge(undescribed, []matrix.Run{run("after-commit", "killed", 0, check.Fail, check.PhantomEvent)}, nil)
	assert.Zero(t, m.Differences, "where nobody said anything, nothing differs")
}

func TestBook(t *testing.T) {
	dir := t.TempDir()
	_, err := matrix.Read(dir)
	require.ErrorIs(t, err, fs.ErrNotExist)
	withPrice := settings()
	withPrice.Price = &price.Plan{}
	book, err := matrix.Create(dir, withPrice)
	require.NoError(t, err)
	require.NoError(t, book.AddPrice(matrix.Priced{Design: "sound"}))
	require.NoError(t, book.AddRun(run("sound", "killed", 0, check.Pass)))
	require.NoError(t, book.Close())
	before, err := json.Marshal(book.Matrix())
	require.NoError(t, err)

	path := filepath.Join(dir, matrix.BookFile)
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = file.WriteString(`{"run":{"design":"sound","scen`) // a crash
	require.NoError(t, err)
	require.NoError(t, file.Close())

	book, err = matrix.Resume(dir, withPrice)
	require.NoError(t, err)
	after, err := json.Marshal(book.Matrix())
	require.NoError(t, err)
	assert.JSONEq(t, string(before), string(after))
	assert.Equal(t, []string{"after-commit"}, book.LeftToPrice())
	left := book.LeftToRun()
	assert.Len(t, left, 8)
	assert.NotContains(t, left, matrix.Job{Design: "sound", Scenario: "killed", Repeat: 0, Seed: 40})
	for _, job := range left {
		require.NoError(t, book.AddRun(run(job.Design, job.Scenario, job.Repeat, check.Pass)))
	}
	assert.Empty(t, book.LeftToRun())
	require.NoError(t, book.End())
	require.NoError(t, book.Close())
	book, err = matrix.Read(dir)
	require.NoError(t, err, "what was cut short is gone")
	assert.True(t, book.Done())

	require.NoError(t, os.WriteFile(path, []byte("{\"run\":{}}\n"), 0o600))
	_, err = matrix.Read(dir)
	assert.ErrorContains(t, err, "does not begin with settings")
	require.NoError(t, os.WriteFile(path, []byte("nonsense\n"), 0o600))
	_, err = matrix.Read(dir)
	assert.ErrorContains(t, err, "line 1")
}

func TestResumeRefusesOtherSettings(t *testing.T) {
	for what, change := range map[string]func(*matrix.Settings){
		"seed: 40 then, 41 now":                                           func(s *matrix.Settings) { s.Seed++ },
		"repeat: 3 then, 4 now":                                           func(s *matrix.Settings) { s.Repeat++ },
		"backend: embedded then, containers now":                          func(s *matrix.Settings) { s.Backend = "containers" },
		"version of broker: kfake v1 then, kfake v2 now":                  func(s *matrix.Settings) { s.Versions = map[string]string{"broker": "kfake v2"} },
		"version of postgres: none then, 17 now":                          func(s *matrix.Settings) { s.Versions = map[string]string{"broker": "kfake v1", "postgres": "17"} },
		"designs: after-commit only then":                                 func(s *matrix.Settings) { s.Designs = s.Designs[:1] },
		"parts of sound: a+b then, a+d now":                               func(s *matrix.Settings) { s.Designs[0].Parts = "a+d" },
		"guards that after-commit lacks: [sweeper] then, [] now":          func(s *matrix.Settings) { s.Designs[1].Lacks = nil },
		"scenarios: calm only now":                                        func(s *matrix.Settings) { s.Scenarios = append(s.Scenarios, matrix.Scenario{Name: "calm"}) },
		"price: not measured then, measured with {Warmup:100 Orders:500 ": func(s *matrix.Settings) { s.Price = &price.Plan{} },
	} {
		dir := t.TempDir()
		book, err := matrix.Create(dir, settings())
		require.NoError(t, err)
		require.NoError(t, book.Close())
		other := settings()
		change(&other)
		_, err = matrix.Resume(dir, other)
		var different *matrix.DifferentError
		require.ErrorAs(t, err, &different, what)
		require.Len(t, different.Differences, 1, what)
		assert.Contains(t, different.Differences[0], what)
	}
}

func TestWorth(t *testing.T) {
	book, err := matrix.Create(t.TempDir(), settings())
	require.NoError(t, err)
	defer book.Close()
	add := func(r matrix.Run) bool {
		worth := book.Worth(r)
		require.NoError(t, book.AddRun(r))
		return worth
	}
	assert.False(t, add(run("sound", "killed", 0, check.Pass)))
	assert.True(t, add(run("sound", "killed", 1, check.Fail, check.LostEvent)))
	assert.False(t, add(run("sound", "killed", 2, check.Fail, check.LostEvent)), "one history of each anomaly")
	assert.True(t, add(run("sound", "reserved", 0, check.Fail, check.LostEvent)), "of each cell")
	assert.True(t, add(run("sound", "reserved", 1, check.Fail, check.LostEvent, check.StuckOrder)))
	assert.True(t, add(run("after-commit", "killed", 0, check.Unknown)))
	assert.False(t, add(run("after-commit", "killed", 1, check.Unknown)))
}

// judged is a matrix with something of everything.
func judged() matrix.Matrix {
	s := settings()
	s.Price = &price.Plan{}
	figures := func(perSecond float64, open string) price.Figures {
		return price.Figures{
			Paced:     price.Phase{P50: 5, P99: 9, Commits: 8, WALBytes: 9000, Records: 3, Open: open},
			Saturated: price.Phase{PerSecond: perSecond},
		}
	}
	return matrix.Judge(s, []matrix.Run{
		run("sound", "killed", 0, check.Pass), run("sound", "killed", 1, check.Pass), run("sound", "killed", 2, check.Pass),
		run("sound", "reserved", 0, check.Unknown),
		run("after-commit", "killed", 0, check.Fail, check.LostEvent, check.PhantomEvent), run("after-commit", "killed", 1, check.Pass),
	}, []matrix.Priced{{Design: "sound", Figures: figures(600, "")}, {Design: "after-commit", Figures: figures(400, "1 orders PENDING")}})
}

func TestText(t *testing.T) {
	var narrow, wide bytes.Buffer
	require.NoError(t, matrix.WriteText(&narrow, judged(), matrix.Style{Columns: 30}))
	require.NoError(t, matrix.WriteText(&wide, judged(), matrix.Style{Columns: 200, Colour: true}))
	for _, line := range []string{
		"DESIGN        K       R",
		"sound         ✓ 0/3   ?",
		"after-commit  ✗ 1/2≠  –",
		"  K    killed",
		"  ✗ killed: lost-event 1/2 [9–91 %], phantom-event 1/2 [9–91 %] ≠",
		"  ≠ expected, and never seen: stuck-order",
		"  expected: A kill loses events.",
		"  ? reserved: no baseline; not run to the end",
		"sound         600       5.0     9.0     8.0      9.0     3.0",
		"after-commit  400       5.0     9.0     8.0      9.0     3.0      paced: 1 orders PENDING",
		"sound, with an outbox, against after-commit: 600 orders/s instead of 400 (+50 %), confirmed after 5.0 ms instead of 5.0 at p50 and 9.0 " +
			"instead of 9.0 at p99, 8.0 commits per order instead of 8.0 (+0 %) and 9.0 kB of write-ahead log instead of 9.0 (+0 %). In return, sound held " +
			"in 1 scenario, and after-commit broke in 1 of 1 scenario (lost-event, phantom-event), and without any fault it left open: paced: 1 orders PENDING.",
		"2 designs × 2 scenarios, 3 runs each, seed 40, embedded; of the cells 1 hold, 1 break, 1 are unknown, 1 n/a; 2 differences from what is expected (≠); " +
			"6 of 9 runs were made: ordeal matrix --resume goes on",
	} {
		assert.Contains(t, "\n"+narrow.String(), "\n"+line+"\n")
	}
	assert.NotContains(t, narrow.String(), "\x1b")
	assert.Contains(t, wide.String(), "killed  reserved\n", "names where there is room")
	assert.Contains(t, wide.String(), "\x1b[31m✗ 1/2≠\x1b[0m")
}

func TestBusyMachineIsRemarked(t *testing.T) {
	s := settings()
	s.Price = &price.Plan{}
	busy := price.Figures{Paced: price.Phase{Late: 60}}
	var text bytes.Buffer
	require.NoError(t, matrix.WriteText(&text, matrix.Judge(s, nil, []matrix.Priced{{Design: "sound"}, {Design: "after-commit", Figures: busy}}), matrix.Style{}))
	assert.Contains(t, text.String(), "requests left 60 ms late at p99")
	assert.Contains(t, text.String(), "measure again before you rely on these figures")
	assert.NotContains(t, strings.Split(text.String(), "PRICE")[0], "busy")
}

func TestMarkdownAndJSON(t *testing.T) {
	var page, object bytes.Buffer
	require.NoError(t, matrix.WriteMarkdown(&page, judged()))
	for _, line := range []string{
		"| after-commit | ✗ 1/2≠ | – |",
		"| after-commit | killed | lost-event 1/2 [9–91 %], phantom-event 1/2 [9–91 %] ≠ | `ordeal run` |",
		"| after-commit | A kill loses events. | lost-event, stuck-order | phantom-event | stuck-order | ≠ |",
		"| after-commit | no-lost-event | 1 | orders-end |",
		"- broker: kfake v1",
	} {
		assert.Contains(t, page.String(), line+"\n")
	}
	require.NoError(t, matrix.WriteJSON(&object, judged()))
	assert.NotContains(t, object.String(), "null")
	var back matrix.Matrix
	require.NoError(t, json.Unmarshal(object.Bytes(), &back))
	assert.Equal(t, matrix.Breaks, back.Rows[1].Cells[0].Kind)
	assert.True(t, strings.HasSuffix(object.String(), "}\n"))
}
