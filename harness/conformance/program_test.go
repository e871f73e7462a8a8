package conformance_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// program is a client in a process of its own, which reads requests and writes answers, one JSON object a
// line, and logs each connection that it makes to its standard error. It ends with its standard input, so
// that it does not outlive a test that was killed.
type program struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers chan []byte // closed at the end of its standard output
	connect *regexp.Regexp

	mu  sync.Mutex
	log bytes.Buffer
}

// startProgram runs the command; connect finds the address in a line that tells of a connection.
func startProgram(t *testing.T, connect *regexp.Regexp, command ...string) *program {
	p := &program{cmd: exec.Command(command[0], command[1:]...), connect: connect, answers: make(chan []byte)}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Stderr = p
	var err error
	p.in, err = p.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	abandoned := make(chan struct{})
	go func() {
		defer close(p.answers)
		for lines := bufio.NewReader(out); ; {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				return
			}
			select {
			case p.answers <- line:
			case <-abandoned:
			}
		}
	}()
	t.Cleanup(func() {
		close(abandoned)
		_ = p.in.Close()
		group := -p.cmd.Process.Pid
		tooLong := time.AfterFunc(15*time.Second, func() { _ = syscall.Kill(group, syscall.SIGKILL) })
		for range p.answers { // all of its output must be read before Wait
		}
		assert.NoError(t, p.cmd.Wait(), "%s ends with its input", command[0])
		tooLong.Stop()
		assert.ErrorIs(t, syscall.Kill(group, syscall.SIGKILL), syscall.ESRCH, "%s left a process behind", command[0])
		if t.Failed() {
			t.Logf("%s wrote:\n%s", command[0], p.tail(40))
		}
	})
	return p
}

// Write keeps what the program logs.
func (p *program) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

func (p *program) logged() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// tail returns the last lines of the log.
func (p *program) tail(n int) string {
	lines := strings.Split(strings.TrimSpace(p.logged()), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

func (p *program) dialled() []string {
	var addresses []string
	for _, found := range p.connect.FindAllStringSubmatch(p.logged(), -1) {
		addresses = append(addresses, found[1])
	}
	return addresses
}

func (p *program) do(ctx context.Context, r request) (answer, error) {
	line, err := json.Marshal(r)
	if err != nil {
		return answer{}, err
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		return answer{}, err
	}
	select {
	case line, ok := <-p.answers:
		var a answer
		if !ok {
			return a, errors.New("the program ended")
		}
		if err := json.Unmarshal(line, &a); err != nil {
			return a, fmt.Errorf("read answer %q: %w", line, err)
		}
		if a.Error != "" {
			return a, errors.New(a.Error)
		}
		return a, nil
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
}

// need skips the test when one of the programs is not installed.
func need(t *testing.T, install string, programs ...string) {
	t.Helper()
	for _, name := range programs {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("this client needs %s: install %s", name, install)
		}
	}
}

// runTool runs a build tool to its end, in a process group that does not outlive its time.
func runTool(t *testing.T, dir string, command ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s:\n%s", strings.Join(command, " "), out)
}

// cached returns a folder of the user's cache that make filled, now or in an earlier run, from the files
// of testdata; a change of those, or of what else it depends on, makes another.
func cached(t *testing.T, name, key string, fill func(dir string)) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	dir := filepath.Join(cache, "ordeal", "conformance", name+"-"+key)
	require.NoError(t, os.MkdirAll(filepath.Dir(dir), 0o755))
	lock, err := os.Create(dir + ".lock")
	require.NoError(t, err)
	defer lock.Close() // which unlocks
	require.NoError(t, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))
	done := filepath.Join(dir, "complete")
	if _, err := os.Stat(done); err == nil {
		return dir
	}
	// Half made by a run that was cut short: nothing of it is trusted.
	require.NoError(t, os.RemoveAll(dir))
	require.NoError(t, os.MkdirAll(dir, 0o755))
	fill(dir)
	require.NoError(t, os.WriteFile(done, nil, 0o644))
	return dir
}
