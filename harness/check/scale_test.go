package check

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// judgeEnv makes the test binary judge one file in a process of its own, so that the memory it needed
// can be told from that of writing the file.
const judgeEnv = "ORDEAL_TEST_JUDGE"

func TestMain(m *testing.M) {
	if path := os.Getenv(judgeEnv); path != "" {
		began := time.Now()
		view, judgement, err := JudgeFile(path, OrderAndStock)
		took := time.Since(began)
		var memory runtime.MemStats
		runtime.ReadMemStats(&memory)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(judgement.Verdict, took.Nanoseconds(), peak(), memory.Sys, memory.HeapAlloc, len(view.Orders))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// peak is the largest resident size of this process so far, zero where the system does not say.
func peak() int64 {
	file, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer func() { _ = file.Close() }()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			kilobytes, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kilobytes << 10
		}
	}
	return 0
}

// traffic acts out orders until about that many events were recorded.
func traffic(count int, sink func(history.Event)) *world {
	w := newWorld(sink)
	skus := make([]string, 50)
	for i := range skus {
		skus[i] = fmt.Sprintf("sku-%d", i)
		w.supply(skus[i], 1<<40)
	}
	w.partitions = 6
	w.phase(history.Baseline)
	for n := 0; w.seq < int64(count); n++ {
		p := buy(n, line(skus[n%50], int64(n%3+1)), line(skus[(n*7+1)%50], 1))
		p.id = fmt.Sprintf("%08x-1c9e-4f7a-9d55-%012x", n*2654435761, n)
		p.reservation = fmt.Sprintf("%08x-77aa-4c01-8e2b-%012x", n*40503, n)
		switch n % 10 {
		case 8:
			w.rejected(p)
		case 9:
			w.cancelledByClient(p)
		default:
			w.confirmed(p)
		}
	}
	w.finish()
	return w
}

// writeTraffic saves such a history as a run would.
func writeTraffic(tb testing.TB, count int) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "history.jsonl")
	recorder, err := history.Create(path, history.Header{Scenario: "scale", Exercises: []string{"stock-conserved"}})
	require.NoError(tb, err)
	traffic(count, func(e history.Event) { recorder.Append(e) })
	require.NoError(tb, recorder.Close())
	return path
}

type cost struct {
	took   time.Duration
	cpu    time.Duration // of all its threads; on a shared machine the steadier figure
	memory int64         // peak resident bytes
}

// judgeAlone judges a file in a fresh process.
func judgeAlone(tb testing.TB, path string) cost {
	tb.Helper()
	command := exec.CommandContext(tb.Context(), os.Args[0])
	command.Env = append(os.Environ(), judgeEnv+"="+path)
	out, err := command.CombinedOutput()
	require.NoError(tb, err, "%s", out)
	var verdict string
	var nanoseconds, resident, system, heap, orders int64
	_, err = fmt.Sscan(string(out), &verdict, &nanoseconds, &resident, &system, &heap, &orders)
	require.NoError(tb, err, "%s", out)
	require.Equal(tb, "pass", verdict)
	if resident == 0 {
		resident = system
	}
	state := command.ProcessState
	c := cost{time.Duration(nanoseconds), state.UserTime() + state.SystemTime(), resident}
	tb.Logf("%s: %.2f s, %.2f s of processor, peak %d MiB resident, %d MiB from the system, %d MiB of heap in use at the end, %d orders",
		tb.Name(), c.took.Seconds(), c.cpu.Seconds(), resident>>20, system>>20, heap>>20, orders)
	return c
}

// BenchmarkJudge measures reading and judging a saved history, each in a process of its own.
func BenchmarkJudge(b *testing.B) {
	seconds := map[int]float64{}
	for _, count := range []int{500_000, 1_000_000} {
		b.Run(strconv.Itoa(count), func(b *testing.B) {
			path := writeTraffic(b, count)
			var most int64
			var total, cpu time.Duration
			b.ResetTimer()
			for range b.N {
				c := judgeAlone(b, path)
				total += c.took
				cpu += c.cpu
				most = max(most, c.memory)
			}
			seconds[count] = cpu.Seconds() / float64(b.N)
			b.ReportMetric(total.Seconds()/float64(b.N), "s/judgement")
			b.ReportMetric(seconds[count], "cpu-s/judgement")
			b.ReportMetric(float64(most>>20), "MiB-peak")
			b.ReportMetric(float64(count)/seconds[count], "events/cpu-s")
			if half := seconds[count/2]; half > 0 {
				b.ReportMetric(seconds[count]/half, "times-half-cpu")
			}
		})
	}
}

// A small version of the benchmark, with room for a busy machine: ten times the events must not take
// anything like a hundred times as long.
func TestJudgingIsLinear(t *testing.T) {
	small := judgeAlone(t, writeTraffic(t, 10_000))
	large := judgeAlone(t, writeTraffic(t, 100_000))
	require.Less(t, large.cpu, 30*small.cpu)
	require.Less(t, large.memory, int64(256<<20))
}

// BenchmarkView measures building the view and judging it, without reading.
func BenchmarkView(b *testing.B) {
	var events []history.Event
	traffic(100_000, func(e history.Event) { events = append(events, e) })
	b.ReportAllocs()
	for b.Loop() {
		builder := NewBuilder()
		for _, e := range events {
			if err := builder.Add(e); err != nil {
				b.Fatal(err)
			}
		}
		if judgement := Judge(builder.View(), OrderAndStock); judgement.Verdict != Pass {
			b.Fatal(judgement.Reasons)
		}
	}
	b.ReportMetric(float64(len(events))*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
