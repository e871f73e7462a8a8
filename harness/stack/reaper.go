package stack

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// guardEnv marks every process that a harness starts, and so its descendants. It closes the one gap
// that announcing pids leaves: a child whose harness died between fork and announcement. The reaper
// meets end of file only when all such children have executed their program, because until then they
// hold a copy of the pipe, and from then on they carry the mark.
const guardEnv = "ORDEAL_GUARD"

// guardLine is one line of the reaper's input.
type guardLine struct {
	Release bool   `json:"release,omitempty"`
	PID     int    `json:"pid,omitempty"`     // a process, with its tree and group
	Started string `json:"started,omitempty"` // its start time
	Data    string `json:"data,omitempty"`    // its Postgres data directory, for shared memory
	Dir     string `json:"dir,omitempty"`     // a directory to remove
	Session string `json:"session,omitempty"` // what to remove at a container engine
	Engine  string `json:"engine,omitempty"`  // the engine's address
}

// reaper is the harness's side: a child process that outlives the harness, however it dies, and then
// kills and removes all that was guarded and not released.
type reaper struct {
	mark string // setting that every guarded process carries
	cmd  *exec.Cmd

	mu   sync.Mutex
	pipe *os.File // nil once closed
}

func startReaper() (*reaper, error) {
	command, env, err := programCommand(reaperProgram)
	if err != nil {
		return nil, err
	}
	mark := guardEnv + "=" + rand.Text()
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start reaper: %w", err)
	}
	defer read.Close()
	r := &reaper{mark: mark, cmd: exec.Command(command[0]), pipe: write}
	r.cmd.Env = append(environ(env...), reaperMarkEnv+"="+mark)
	r.cmd.Stdin = read
	r.cmd.Dir = "/"
	// A session of its own: Ctrl-C and a closing terminal reach the harness, not its reaper.
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	// Nothing else of ours is inherited: a reaper that held the output of go test would keep it waiting.
	out, err := r.cmd.StdoutPipe()
	if err == nil {
		err = r.cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start reaper: %w", err), write.Close())
	}
	hello := make([]byte, len(reaperHello))
	stuck := time.AfterFunc(closeTimeout, func() { _ = r.cmd.Process.Kill() })
	_, err = io.ReadFull(out, hello)
	stuck.Stop()
	if err != nil || string(hello) != reaperHello {
		_ = r.cmd.Process.Kill()
		return nil, errors.Join(fmt.Errorf("start reaper: it said %q: %w", hello, err), write.Close(), r.cmd.Wait())
	}
	return r, nil
}

const (
	reaperMarkEnv = "ORDEAL_REAPER_MARK"
	reaperHello   = "guarding\n"
)

// tell sends one line. An error means that the reaper is gone and nothing may be started any more.
func (r *reaper) tell(line guardLine) error {
	data, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("tell reaper: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pipe == nil {
		return fmt.Errorf("tell reaper: %w", os.ErrClosed)
	}
	if _, err := r.pipe.Write(append(data, '\n')); err != nil {
		return fmt.Errorf("tell reaper: %w", err)
	}
	return nil
}

// Close ends the reaper, which cleans up whatever was not released, and returns when it has exited.
func (r *reaper) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pipe == nil {
		return nil
	}
	err := r.pipe.Close()
	r.pipe = nil
	stuck := time.AfterFunc(2*closeTimeout, func() { _ = r.cmd.Process.Kill() })
	defer stuck.Stop()
	if waitErr := r.cmd.Wait(); waitErr != nil {
		err = errors.Join(err, fmt.Errorf("await reaper: %w", waitErr))
	}
	return err
}

// reaperMain is the reaper process. It reads guard lines until end of file, then cleans up.
func reaperMain(context.Context) int {
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE)
	if _, err := io.WriteString(os.Stdout, reaperHello); err != nil {
		return 1
	}
	guarded := readGuards(os.Stdin)
	// A fresh context: the program's own one ends at a signal, and the reaper must not.
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	guarded.killAll(ctx, os.Getenv(reaperMarkEnv))
	err := guarded.removeAll(ctx)
	if errors.Join(err, guarded.removeSessions()) != nil {
		return 1
	}
	return 0
}

// guarded is all that a reaper was told of and not released from.
type guarded struct {
	processes map[int]guardLine
	dirs      map[string]struct{}
	sessions  map[string]string // and the engine of each
}

func readGuards(in io.Reader) guarded {
	g := guarded{map[int]guardLine{}, map[string]struct{}{}, map[string]string{}}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var line guardLine
		if json.Unmarshal(lines.Bytes(), &line) != nil {
			continue // the last line of a harness that died while it wrote
		}
		switch {
		case line.Release && line.PID != 0:
			delete(g.processes, line.PID)
		case line.Release && line.Session != "":
			delete(g.sessions, line.Session)
		case line.Release:
			delete(g.dirs, line.Dir)
		case line.PID != 0:
			g.processes[line.PID] = line
		case line.Session != "":
			g.sessions[line.Session] = line.Engine
		case line.Dir != "":
			g.dirs[line.Dir] = struct{}{}
		}
	}
	return g
}

func (g guarded) killAll(ctx context.Context, mark string) {
	for pid, line := range g.processes {
		if p, lives := processOf(pid); lives && p.started != line.Started {
			continue // the pid belongs to someone else by now
		}
		_ = killTree(ctx, pid)
	}
	_ = await(ctx, "end of marked processes", func() (bool, error) {
		marked := processesWith(mark)
		for _, pid := range marked {
			_ = killTree(ctx, pid)
		}
		return len(marked) == 0, nil
	})
}

func (g guarded) removeAll(ctx context.Context) error {
	var errs []error
	for line := range maps.Values(g.processes) {
		if line.Data != "" {
			errs = append(errs, sweepSharedMemory(ctx, line.Data))
		}
	}
	for dir := range g.dirs {
		errs = append(errs, os.RemoveAll(dir))
	}
	return errors.Join(errs...)
}

// removeSessions removes containers, networks and volumes. What it cannot remove, the next harness does.
func (g guarded) removeSessions() error {
	var errs []error
	for id, engine := range g.sessions {
		errs = append(errs, reapSession(context.Background(), engine, id))
	}
	return errors.Join(errs...)
}
