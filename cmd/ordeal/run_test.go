package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// printed is what --json prints, as the issue promises it.
type printed struct {
	Verdict     string
	Seed        *uint64
	Backend     string
	Versions    map[string]string
	Repeat      string
	Interrupted bool
	LeftOut     []struct {
		Needs     string
		Scenarios []string
	} `json:"left_out"`
	Notes     []string
	Scenarios []struct {
		Name, Design, Verdict    string
		Repeat                   string
		Seconds                  float64
		Operations, Acknowledged int
		Guarantees               []struct {
			Name, Verdict string
			Examined      int
			Skipped       bool
		}
		Anomalies []struct{ Name, Subject, Detail string }
		Faults    []struct {
			Name, Link, Evidence string
			InjectedMS           int64 `json:"injected_ms"`
			HealedMS             int64 `json:"healed_ms"`
		}
	}
}

// decode reads exactly one JSON object.
func decode(t *testing.T, text string) printed {
	t.Helper()
	var p printed
	require.NoError(t, json.Unmarshal([]byte(text), &p), text) // it refuses anything after the object
	require.NotNil(t, p.Seed)
	return p
}

func TestRunThatPasses(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	run := s.run(t, "run", "calm", "--json", "--out", s.out, "--seed", seed())
	run.requireCode(t, exitPass)
	s.requireReports(t, "calm")

	said := decode(t, run.stdout.String())
	require.Equal(t, []string{"pass", embedded, seed()}, []string{said.Verdict, said.Backend, fmt.Sprint(*said.Seed)})
	require.Len(t, said.Scenarios, 1)
	calm := said.Scenarios[0]
	require.Equal(t, []string{"calm", "sound", "pass"}, []string{calm.Name, calm.Design, calm.Verdict})
	require.Positive(t, calm.Seconds)
	require.GreaterOrEqual(t, calm.Acknowledged, 60)
	require.GreaterOrEqual(t, calm.Operations, calm.Acknowledged)
	require.Greater(t, calm.Acknowledged, calm.Operations*8/10, "without a fault only late cancels are refused")
	require.Empty(t, calm.Anomalies)
	require.Empty(t, calm.Faults)
	require.Greater(t, len(calm.Guarantees), 18)
	for _, g := range calm.Guarantees {
		if !g.Skipped {
			require.Equal(t, "pass", g.Verdict, g.Name)
			require.Positive(t, g.Examined, g.Name)
		}
	}
	for _, line := range strings.Split(strings.TrimSpace(run.stderr.String()), "\n") {
		require.Regexp(t, `^\d\d:\d\d:\d\d \S`, line, "progress in a pipe is plain lines with the time")
		require.NotContains(t, line, "\x1b")
	}
	require.Contains(t, run.stderr.String(), "calm: pass in ")

	t.Run("check", func(t *testing.T) {
		again := s.run(t, "check", filepath.Join(s.out, "calm"), "--json")
		again.requireCode(t, exitPass)
		rejudged := decode(t, again.stdout.String()).Scenarios[0]
		require.Equal(t, calm.Guarantees, rejudged.Guarantees)
		require.Equal(t, [2]int{calm.Operations, calm.Acknowledged}, [2]int{rejudged.Operations, rejudged.Acknowledged})

		table := s.run(t, "check", filepath.Join(s.out, "calm", historyFile))
		table.requireCode(t, exitPass)
		require.Regexp(t, `✓ pass +calm +sound`, table.stdout.String())
		require.NotContains(t, table.stdout.String(), "repeat")
	})
	t.Run("seed", func(t *testing.T) {
		other := newSite(t)
		other.run(t, "run", "calm", "--out", other.out, "--seed", seed()).requireCode(t, exitPass)
		first, second := placed(t, s), placed(t, other)
		shared := 0
		for id, lines := range first {
			if again, ok := second[id]; ok {
				require.Equal(t, lines, again, id)
				shared++
			}
		}
		// A run may end some orders earlier, and leaves out those for which no client was free.
		require.Greater(t, shared, 50, "of %d and %d orders", len(first), len(second))
	})
	t.Run("damaged history", func(t *testing.T) {
		path := filepath.Join(s.out, "calm", historyFile)
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		lines := strings.SplitAfter(string(data), "\n")
		lines[41] = `{"type":"op` + "\n"
		require.NoError(t, os.WriteFile(path, []byte(strings.Join(lines, "")), 0o644))
		damaged := s.run(t, "check", filepath.Dir(path))
		damaged.requireCode(t, exitHarness)
		require.Contains(t, damaged.stderr.String(), "line 42")
		require.Contains(t, damaged.stderr.String(), "in string literal") // why
		require.Empty(t, damaged.stdout.String())
	})
}

// placed returns the lines of every order that a run placed, by the order's id.
func placed(t *testing.T, s site) map[string][]history.Line {
	t.Helper()
	orders := map[string][]history.Line{}
	_, err := history.Read(filepath.Join(s.out, "calm", historyFile), func(e history.Event) error {
		if e.Op != nil && e.Op.Type == history.Invoke && e.Op.Action == history.Place {
			orders[e.Op.Order] = e.Op.Lines
		}
		return nil
	})
	require.NoError(t, err)
	return orders
}

var (
	repeatLine = regexp.MustCompile(`(?m)^ +repeat: (\S*ordeal run .*)$`)
	databases  = regexp.MustCompile(`database orders: (postgres://\S+)`)
	stockLink  = regexp.MustCompile(`link client->stock: (\S+)`)
)

// A planted bug is named with the guarantee, the order, its events and the command that repeats it; and
// that command does.
func TestRunThatBreaksAGuarantee(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	run := s.run(t, "run", "redelivery", "--without", " inbox-dedup,inbox-dedup", "--seed", seed(), "--out", s.out)
	run.requireCode(t, exitFail)
	s.requireReports(t, "redelivery")
	text := run.stdout.String()
	require.Regexp(t, `✗ fail +redelivery +sound, without inbox-dedup`, text)
	require.Regexp(t, `✗ double-effect  order order-\d{6}\n +breaks I7 effects-at-most-once: \S.*\n.*\n +observed  seen at +what\n +\+\d+\.\d{3}s +\S+ .*\n`, text)
	require.LessOrEqual(t, strings.Count(text, "✗ double-effect"), 3, "the rest is one line")
	require.Regexp(t, `(?m)^  ✗ and \d+ more double-effect on .*: order-\d{6}, .* \(all in report.json\)$`, text)
	require.Regexp(t, `(?m)^FAIL  .*1 broke a guarantee`, text)
	require.Equal(t, 1, strings.Count(text, "repeat"), "said once for one scenario")

	match := repeatLine.FindStringSubmatch(text)
	require.NotNil(t, match, text)
	require.Equal(t, binary+" run redelivery --without inbox-dedup --seed "+seed(), match[1])

	// Again, as printed, and this time with the stack left up.
	again := s.start(t, append(strings.Fields(match[1])[1:], "--keep", "--json", "--out", s.out)...)
	again.await(t, "process stock: pid")
	require.Contains(t, again.stderr.String(), "✗ double-effect", "the story comes before the wait")
	require.Contains(t, again.stderr.String(), "kept the stack of redelivery up; Ctrl-C ends it")
	s.requireKept(t, again.stderr.String())
	again.interrupt(t)
	again.requireCode(t, exitFail)
	s.requireNothingLeft(t, 0)
	said := decode(t, again.stdout.String())
	require.False(t, said.Interrupted, "it lacks nothing")
	require.Equal(t, "fail", said.Verdict)
	require.Equal(t, "double-effect", said.Scenarios[0].Anomalies[0].Name)
	require.NotEmpty(t, said.Scenarios[0].Faults[0].Evidence)
}

// requireKept says that the addresses lead to what is still up.
func (s site) requireKept(t *testing.T, text string) {
	t.Helper()
	dsn := databases.FindStringSubmatch(text)
	require.NotNil(t, dsn, text)
	connection, err := pgx.Connect(t.Context(), dsn[1])
	require.NoError(t, err)
	defer connection.Close(t.Context())
	var orders int
	require.NoError(t, connection.QueryRow(t.Context(), "SELECT count(*) FROM orders").Scan(&orders))
	require.GreaterOrEqual(t, orders, 60)

	link := stockLink.FindStringSubmatch(text)
	require.NotNil(t, link, text)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+link[1]+"/api/v1/stocks/sku-001", nil)
	require.NoError(t, err)
	request.Close = true
	answer, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer answer.Body.Close()
	require.Equal(t, http.StatusOK, answer.StatusCode)
}

// A fault on a link that nobody uses proves nothing.
func TestRunWithAFaultThatCannotBite(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	run := s.run(t, "run", "lost-answer", "--fault", "down:client->stock", "--out", s.out)
	run.requireCode(t, exitUnknown)
	s.requireReports(t, "lost-answer")
	require.Regexp(t, `\? unknown: faults-bit: down on client->stock never bit`, run.stdout.String())
	require.Regexp(t, `(?m)^  repeat: \S+/ordeal run lost-answer --fault 'down:client->stock' --seed \d+$`, run.stdout.String())
	require.Regexp(t, `(?m)^UNKNOWN  `, run.stdout.String())
	require.Contains(t, run.stderr.String(), "fault down on client->stock did not bite: ")
}
