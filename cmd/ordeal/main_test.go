package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/harness/report"
)

// binary is the command under test, built once.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "ordeal-command-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		if err := os.Chmod(dir, 0o755); err != nil { // for other users too
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		binary = filepath.Join(dir, "ordeal")
		build := exec.Command("go", "build", "-o", binary, ".")
		build.Env = append(os.Environ(), "CGO_ENABLED=0") // services may run from it in containers
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build ordeal: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// site is a place of its own for the command: all that it starts has tmp in its environment, so that
// another run on the machine is never taken for it.
type site struct {
	out, tmp string
	env      []string            // more settings
	as       *syscall.Credential // nil is this process's account
	engine   *client.Client      // of the container engine, where the site uses one
}

// newSite makes a site, and fails the test if in the end anything is left of what was run there.
func newSite(t *testing.T) site {
	t.Helper()
	base, err := os.MkdirTemp("", "ordeal-site-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(base)) })
	s := site{out: filepath.Join(base, "out"), tmp: filepath.Join(base, "tmp")}
	require.NoError(t, os.Chmod(base, 0o755), "Postgres may run as another user")
	require.NoError(t, os.Mkdir(s.tmp, 0o755))
	t.Cleanup(func() { s.requireNothingLeft(t, 3*time.Second) })
	return s
}

// requireNothingLeft waits until no process and no temporary file of the site is there any more.
func (s site) requireNothingLeft(t *testing.T, limit time.Duration) {
	t.Helper()
	for deadline := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		left := append(s.processes(t), s.files(t)...)
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("left behind after %s:\n%s", limit, strings.Join(left, "\n"))
			return
		}
	}
}

// processes describes what runs with the site in its environment or its command line.
func (s site) processes(t *testing.T) []string {
	t.Helper()
	var found []string
	environs, err := filepath.Glob("/proc/[0-9]*/environ") // nothing where there is no /proc
	require.NoError(t, err)
	for _, path := range environs {
		environ, _ := os.ReadFile(path) // unreadable: it ended, or is another user's
		command, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		if strings.Contains(string(environ)+string(command), filepath.Dir(s.tmp)) {
			found = append(found, path+" "+strings.ReplaceAll(string(command), "\x00", " "))
		}
	}
	return found
}

func (s site) files(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(s.tmp, "*"))
	require.NoError(t, err)
	return found
}

// requireReports says that every report file is there, and a history of each of these scenarios.
func (s site) requireReports(t *testing.T, scenarios ...string) {
	t.Helper()
	for _, name := range []string{report.JSONFile, report.JUnitFile, report.MarkdownFile, report.HTMLFile} {
		require.FileExists(t, filepath.Join(s.out, name))
	}
	for _, name := range scenarios {
		require.FileExists(t, filepath.Join(s.out, name, historyFile))
	}
}

// process is a running command.
type process struct {
	*exec.Cmd
	stdout, stderr output
	done           chan struct{} // closed when it has ended
}

// start runs the command in the site. It is killed when the test ends or three minutes have passed.
func (s site) start(t *testing.T, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	p := &process{Cmd: exec.CommandContext(ctx, binary, args...), done: make(chan struct{})}
	p.Env = append(append(environment(), "TMPDIR="+s.tmp), s.env...)
	p.Dir = filepath.Dir(s.tmp)
	p.SysProcAttr = &syscall.SysProcAttr{Credential: s.as}
	p.Stdout, p.Stderr = &p.stdout, &p.stderr
	require.NoError(t, p.Start())
	go func() {
		defer close(p.done)
		_ = p.Wait() // the exit code is in ProcessState
	}()
	t.Cleanup(func() { cancel(); <-p.done })
	return p
}

// environment is this process's, without what chooses a backend.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(setting string) bool {
		name, _, _ := strings.Cut(setting, "=")
		return slices.ContainsFunc(backendSettings, func(c backendSetting) bool { return c.env == name })
	})
}

// run runs the command to its end.
func (s site) run(t *testing.T, args ...string) *process {
	t.Helper()
	p := s.start(t, args...)
	<-p.done
	return p
}

// requireCode says how the command ended.
func (p *process) requireCode(t *testing.T, want int) {
	t.Helper()
	<-p.done
	require.Equal(t, want, p.ProcessState.ExitCode(), "%s\nstdout:\n%s\nstderr:\n%s", p, p.stdout.String(), p.stderr.String())
}

// await waits until the command has printed text to stderr.
func (p *process) await(t *testing.T, text string) {
	t.Helper()
	for deadline := time.Now().Add(90 * time.Second); !strings.Contains(p.stderr.String(), text); time.Sleep(5 * time.Millisecond) {
		select {
		case <-p.done:
			require.Contains(t, p.stderr.String(), text, "it ended without saying so")
			return
		default:
			require.True(t, time.Now().Before(deadline), "it never said %q:\n%s", text, p.stderr.String())
		}
	}
}

// interrupt is Ctrl-C.
func (p *process) interrupt(t *testing.T) {
	t.Helper()
	if err := p.Process.Signal(syscall.SIGINT); !errors.Is(err, os.ErrProcessDone) {
		require.NoError(t, err)
	}
}

// requireEnd waits for the end.
func (p *process) requireEnd(t *testing.T, limit time.Duration) {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(limit):
		require.Failf(t, "still running", "after %s:\n%s", limit, p.stderr.String())
	}
}

// output collects what a process prints, and can be read meanwhile.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

var _ io.Writer = (*output)(nil)

func (o *output) Write(data []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(data)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// seed is a seed for a test's runs, different each time.
func seed() string { return strconv.Itoa(os.Getpid()) }
