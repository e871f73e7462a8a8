package harness

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ordeal-chaos/ordeal/harness/check"
	"github.com/ordeal-chaos/ordeal/harness/report"
	"github.com/ordeal-chaos/ordeal/harness/stack"
)

// Environment variables that [Run] reads, beside those that choose what to run on: see [stack.ChoiceFromEnv].
const (
	OutEnv     = "ORDEAL_OUT"     // folder for run folders and reports; default "ordeal-report" beside the test
	SeedEnv    = "ORDEAL_SEED"    // repeats a run
	BrokersEnv = "ORDEAL_BROKERS" // Kafka brokers of each scenario, 1 or 3; default 1
)

// shared is the backend and the results of all calls of Run in one test binary.
var shared struct {
	once    sync.Once
	runner  *Runner
	err     error
	mu      sync.Mutex
	began   time.Time
	results []Result
}

// Main runs the tests of a package that calls [Run]. Call it from TestMain: the test binary is also the
// broker, the reaper and any of programs, each re-executed as a child process. When the tests are done
// it stops what is left, writes the reports, and exits. The results of tests that called Run are never
// taken from go test's cache, which cannot see that a service's binary changed.
func Main(tests interface{ Run() int }, programs ...stack.Program) {
	stack.Dispatch(programs...)
	code := tests.Run()
	if err := finish(); err != nil {
		fmt.Fprintln(os.Stderr, "ordeal:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// Run carries out one scenario from a test, on the embedded backend unless the environment chooses another
// ([stack.ChoiceFromEnv]). TestMain must call [Main].
func Run(ctx context.Context, scenario Scenario) Result {
	if scenario.Test == "" {
		scenario.Test = callingTest()
	}
	runner, err := SharedRunner(ctx)
	if err != nil {
		return Result{Scenario: scenario.withDefaults(), Error: err}
	}
	result := runner.Run(ctx, scenario)
	shared.mu.Lock()
	defer shared.mu.Unlock()
	shared.results = append(shared.results, result)
	return result
}

// SharedRunner is the runner that [Run] uses: a test that needs a [Runner] of its own takes the backend, the
// brokers and the seed from it.
func SharedRunner(ctx context.Context) (*Runner, error) {
	shared.once.Do(func() { shared.runner, shared.err = newShared(ctx) })
	return shared.runner, shared.err
}

// SharedBackend is the backend that [Run] uses.
func SharedBackend(ctx context.Context) (stack.Backend, error) {
	runner, err := SharedRunner(ctx)
	if err != nil {
		return nil, err
	}
	return runner.Backend, nil
}

// callingTest finds the name of the Test function that called Run; empty when there is none.
func callingTest() string {
	callers := make([]uintptr, 64)
	frames := runtime.CallersFrames(callers[:runtime.Callers(3, callers)])
	for {
		frame, more := frames.Next()
		// "example.com/shop_test.TestCheckout.func1"
		slash := strings.LastIndex(frame.Function, "/")
		parts := strings.Split(frame.Function[slash+1:], ".")
		if len(parts) > 1 && strings.HasPrefix(parts[1], "Test") && strings.HasSuffix(frame.File, "_test.go") {
			return parts[1]
		}
		if !more {
			return ""
		}
	}
}

// pattern makes the argument of go test -run that runs exactly the test, "TestX/some name".
func pattern(test string) string {
	if test == "" {
		return "."
	}
	parts := strings.Split(test, "/")
	for i, part := range parts {
		parts[i] = "^" + regexp.QuoteMeta(part) + "$"
	}
	return strings.Join(parts, "/")
}

func newShared(ctx context.Context) (*Runner, error) {
	shared.began = time.Now()
	seed := NewSeed()
	if text := os.Getenv(SeedEnv); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			return nil, fmt.Errorf("%w: %s=%q is no number", ErrUsage, SeedEnv, text)
		}
	}
	choice, brokers, err := stackFromEnv()
	if err != nil {
		return nil, err
	}
	out, err := outFolder()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(report.Preflight(out), readMarker()); err != nil {
		return nil, err
	}
	// An earlier report must not be taken for this run's, should it be killed.
	for _, name := range []string{report.JSONFile, report.JUnitFile, report.MarkdownFile, report.HTMLFile} {
		if err := os.Remove(filepath.Join(out, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("remove old report: %w", err)
		}
	}
	// The backend outlives the test that came first: its end is finish, not that test's context.
	backend, err := stack.Open(context.WithoutCancel(ctx), choice)
	if err != nil {
		return nil, fmt.Errorf("start backend: %w", err)
	}
	settings := settingsInForce(backend.Name(), seed)
	return &Runner{Backend: backend, Brokers: brokers, Out: out, Seed: seed, Repeat: func(s Scenario) string {
		return fmt.Sprintf("%s go test -run '%s' .", settings, pattern(s.Test))
	}}, nil
}

// stackFromEnv is what the environment says of the stack. An error wraps [ErrUsage].
func stackFromEnv() (stack.Choice, int, error) {
	choice, err := stack.ChoiceFromEnv()
	if err != nil {
		return choice, 0, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	// Containers take their time, and an automatic choice must be known.
	if choice.Backend != "embedded" {
		choice.Log = func(line string) { fmt.Fprintln(os.Stderr, "ordeal:", line) }
	}
	brokers, err := BrokersFromEnv()
	return choice, brokers, err
}

// BrokersFromEnv is the number of Kafka brokers that the environment asks for, 1 where it says nothing. An
// error wraps [ErrUsage].
func BrokersFromEnv() (int, error) {
	switch text := os.Getenv(BrokersEnv); text {
	case "", "1":
		return 1, nil
	case "3":
		return 3, nil
	default:
		return 0, fmt.Errorf("%w: %s=%q: there can be 1 or 3 brokers", ErrUsage, BrokersEnv, text)
	}
}

// settingsInForce are the assignments, as a shell takes them, that make go test run the same again: the seed,
// and all that the environment says of the stack. What was chosen automatically is named.
func settingsInForce(backend string, seed uint64) string {
	words := []string{fmt.Sprintf("%s=%d", SeedEnv, seed)}
	for _, name := range []string{
		stack.BackendEnv, BrokersEnv, stack.KafkaImageEnv, stack.PostgresImageEnv, stack.KafkaProfileEnv, stack.ServicesEnv,
	} {
		value := os.Getenv(name)
		if value != "" && name == stack.BackendEnv {
			value = backend
		}
		if value != "" {
			words = append(words, name+"="+shellWord(value))
		}
	}
	return strings.Join(words, " ")
}

var plainWord = regexp.MustCompile(`^[\w./:@%+,-]+$`)

// shellWord is the text as a shell takes it for one word.
func shellWord(text string) string {
	if plainWord.MatchString(text) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// NewSeed returns a seed that people can type: six digits.
func NewSeed() uint64 { return rand.Uint64N(1_000_000) }

func outFolder() (string, error) {
	out := os.Getenv(OutEnv)
	if out == "" {
		out = "ordeal-report"
	}
	out, err := filepath.Abs(out)
	if err != nil {
		return "", fmt.Errorf("find report folder: %w", err)
	}
	return out, nil
}

// finish stops the shared backend and writes the reports of all runs.
func finish() error {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.runner == nil {
		return nil
	}
	err := shared.runner.Backend.Close()
	if len(shared.results) == 0 {
		return err
	}
	run := Summarize(shared.results)
	run.Seed, run.Backend, run.Versions = shared.runner.Seed, shared.runner.Backend.Name(), shared.runner.Versions()
	run.Started, run.Seconds = shared.began.UTC(), time.Since(shared.began).Seconds()
	return errors.Join(err, report.WriteAll(shared.runner.Out, run))
}

// Summarize merges results into one report: fail over unknown over pass, and nothing at all is unknown.
func Summarize(results []Result) report.Run {
	var run report.Run
	for i, result := range results {
		run.Scenarios = append(run.Scenarios, result.Report())
		if i == 0 {
			run.Verdict = result.Verdict
		}
		run.Verdict = check.Worse(run.Verdict, result.Verdict)
	}
	return run
}

// marker is a file of the module under test that every run reads. go test forgets a result when a file
// that the test read is younger than two seconds as the test ends (cmd/go, errFileTooNew): this one is
// dated a day ahead. What a test reads before its tests begin does not count.
var marker = filepath.Join("ordeal-report", ".run")

func readMarker() error {
	err := os.MkdirAll(filepath.Dir(marker), 0o755)
	if err == nil {
		err = os.WriteFile(marker, nil, 0o644)
	}
	if err == nil {
		tomorrow := time.Now().Add(24 * time.Hour)
		err = os.Chtimes(marker, tomorrow, tomorrow)
	}
	if err == nil {
		_, err = os.ReadFile(marker)
	}
	if err != nil {
		return fmt.Errorf("keep the result out of go test's cache: %w", err)
	}
	return nil
}
