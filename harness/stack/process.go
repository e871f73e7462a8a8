package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// Spec says how to run one process. Name and either Command or Program are required.
type Spec struct {
	Name    string   // unique in its environment; also the name of its log
	Command []string // program and arguments, as for exec.Command
	Program string   // instead of Command: a program of this binary, known to [Dispatch]
	Env     []string // "NAME=value", on top of the harness's own environment
	Dir     string   // working directory; "" means the harness's own
	Ports   []*Port  // ports that it listens on
	// Ready returns nil once the process can work. It is polled, each time with a context of its own.
	// Nil means ready when started. See [Environment.HTTPReady].
	Ready        func(context.Context) error
	ReadyTimeout time.Duration // 0 means 20 s
	Grace        time.Duration // between the request to stop and SIGKILL; 0 means 5 s
}

// task is a Spec with what only this package's own servers need.
type task struct {
	Spec
	events  []string       // names in the history; several where one process is several brokers
	account *account       // the user to run as; nil means the harness's own
	stop    syscall.Signal // asks for a clean stop
	data    string         // Postgres data directory
	exited  func()         // runs after every exit, before it is announced
	// end ends the process for good; nil kills it.
	end func(context.Context, *Process) error
}

// Process is a supervised child, restartable under the same name, command and ports. It is a [Node].
type Process struct {
	task   task
	log    string // path
	reaper *reaper
	record recorder

	life sync.Mutex // held while a run is being started

	mu     sync.Mutex
	run    *run // the current run or the last; nil before the first
	starts int
	closed bool
}

// run is one start of a process.
type run struct {
	proc   proc
	done   chan struct{} // closed when it has exited and was announced
	end    string        // how it ended; valid once done is closed
	asked  bool          // the harness wanted it to end; under Process.mu
	paused bool          // under Process.mu
}

var errNotRunning = errors.New("not running")

// Name implements [Node].
func (p *Process) Name() string { return p.task.Name }

// PID implements [Node].
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.run == nil {
		return 0
	}
	return p.run.proc.pid
}

// Alive implements [Node].
func (p *Process) Alive() bool { return p.alive() != nil }

// alive returns the current run, or nil when there is none.
func (p *Process) alive() *run {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.run == nil {
		return nil
	}
	select {
	case <-p.run.done:
		return nil
	default:
		return p.run
	}
}

// Start implements [Node]. A process that is not ready in time is left running; the error quotes its log.
func (p *Process) Start(ctx context.Context) error {
	r, err := p.spawn()
	if err != nil {
		return fmt.Errorf("start %s: %w", p.Name(), err)
	}
	if err := p.awaitReady(ctx, r); err != nil {
		return fmt.Errorf("start %s: %w%s", p.Name(), err, quoteLog(p.LastLog(15)))
	}
	p.announce(history.Process{PID: r.proc.pid, State: history.Ready}, true)
	return nil
}

func (p *Process) spawn() (*run, error) {
	p.life.Lock()
	defer p.life.Unlock()
	if p.alive() != nil {
		return nil, errors.New("already running")
	}
	if p.closed {
		return nil, errors.New("its environment is closed")
	}
	cmd, err := p.command()
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	defer log.Close()
	p.starts++
	if _, err := fmt.Fprintf(log, "--- start %d %s %s\n", p.starts, time.Now().Format("15:04:05.000"), strings.Join(cmd.Args, " ")); err != nil {
		return nil, fmt.Errorf("write log: %w", err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	for _, port := range p.task.Ports {
		if err := port.lend(); err != nil {
			return nil, err
		}
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return p.adopt(cmd)
}

// adopt puts a child that was just started under guard and supervision.
func (p *Process) adopt(cmd *exec.Cmd) (*run, error) {
	// Until it is waited for, the child stays in the process table, even dead: the look-up is sound.
	child, _ := processOf(cmd.Process.Pid)
	child.pid = cmd.Process.Pid
	if err := p.reaper.tell(guardLine{PID: child.pid, Started: child.started, Data: p.task.data}); err != nil {
		_ = syscall.Kill(-child.pid, syscall.SIGKILL)
		return nil, errors.Join(err, cmd.Wait())
	}
	r := &run{proc: child, done: make(chan struct{})}
	p.mu.Lock()
	p.run = r
	p.mu.Unlock()
	p.announce(history.Process{PID: child.pid, State: history.Started}, true)
	go p.supervise(cmd, r) // awaited through r.done
	return r, nil
}

func (p *Process) command() (*exec.Cmd, error) {
	command, env := p.task.Command, []string(nil)
	if p.task.Program != "" {
		var err error
		if command, env, err = programCommand(p.task.Program); err != nil {
			return nil, err
		}
	}
	if len(command) == 0 {
		return nil, errors.New("neither command nor program given")
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = p.task.Dir
	cmd.Env = environ(append(env, p.task.Env...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if a := p.task.account; a != nil {
		a.apply(cmd)
	}
	cmd.Env = append(cmd.Env, p.reaper.mark)
	return cmd, nil
}

// supervise waits for the child's end, removes what it left, and announces it.
func (p *Process) supervise(cmd *exec.Cmd, r *run) {
	_ = cmd.Wait() // how it ended is in ProcessState
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	// What is left of its group would keep its ports and go on working under a dead name.
	if syscall.Kill(-r.proc.pid, syscall.SIGKILL) == nil {
		_ = killTree(ctx, r.proc.pid)
	}
	if p.task.exited != nil {
		p.task.exited()
	}
	for _, port := range p.task.Ports {
		_ = port.hold()
	}
	_ = p.reaper.tell(guardLine{Release: true, PID: r.proc.pid})
	event := history.Process{PID: r.proc.pid, State: history.Exited}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		event.Signal = status.Signal().String()
	} else {
		event.Code = cmd.ProcessState.ExitCode()
	}
	p.mu.Lock()
	asked := r.asked
	p.mu.Unlock()
	r.end = cmd.ProcessState.String()
	p.announce(event, asked)
	close(r.done)
}

func (p *Process) announce(event history.Process, asked bool) {
	for _, name := range p.task.events {
		event.Name = name
		p.record(event, asked)
	}
}

// awaitReady polls the readiness condition until it holds, the process exits, or time is up.
func (p *Process) awaitReady(ctx context.Context, r *run) error {
	limit := p.task.ReadyTimeout
	if limit == 0 {
		limit = 20 * time.Second
	}
	return untilReady(ctx, limit, p.task.Ready, func() error {
		select {
		case <-r.done:
			return fmt.Errorf("process ended before it was ready: %s", r.end)
		default:
			return nil
		}
	})
}

// untilReady polls ready, each time with a context of its own, until it returns nil, ended returns an error, or
// time is up. A nil ready holds at once.
func untilReady(ctx context.Context, limit time.Duration, ready func(context.Context) error, ended func() error) error {
	if ready == nil {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("deadline of %s for readiness passed", limit))
	defer cancel()
	var last error
	err := await(ctx, "readiness", func() (bool, error) {
		if err := ended(); err != nil {
			return false, err
		}
		attempt, cancel := context.WithTimeout(ctx, probeTimeout)
		defer cancel()
		last = ready(attempt)
		return last == nil, nil
	})
	if err != nil && last != nil {
		return fmt.Errorf("%w; the last attempt said: %w", err, last)
	}
	return err
}

// end waits until the run has ended.
func (p *Process) end(ctx context.Context, r *run) error {
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("await exit of %s (pid %d): %w", p.Name(), r.proc.pid, context.Cause(ctx))
	}
}

// wanted marks the run's end as asked for, and says whether it is paused.
func (p *Process) wanted(r *run) (paused bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r.asked = true
	return r.paused
}

// Kill implements [Node].
func (p *Process) Kill(ctx context.Context) error {
	r := p.alive()
	if r == nil {
		return nil
	}
	p.wanted(r)
	if err := killTree(ctx, r.proc.pid); err != nil {
		return fmt.Errorf("kill %s: %w", p.Name(), err)
	}
	return p.end(ctx, r)
}

// Terminate implements [Node].
func (p *Process) Terminate(ctx context.Context) error {
	r := p.alive()
	if r == nil {
		return nil
	}
	paused := p.wanted(r)
	target := -r.proc.pid // its group: a shell does not pass the signal on
	if p.task.data != "" {
		target = r.proc.pid // Postgres stops its own children
	}
	if err := syscall.Kill(target, p.task.stop); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("terminate %s: %w", p.Name(), err)
	}
	if paused {
		if err := continueTree(r.proc.pid); err != nil {
			return fmt.Errorf("terminate %s: %w", p.Name(), err)
		}
	}
	grace := p.task.Grace
	if grace == 0 {
		grace = 5 * time.Second
	}
	waiting, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	if p.end(waiting, r) == nil {
		return nil
	}
	err := fmt.Errorf("terminate %s: %w (%s), killed", p.Name(), ErrOutlived, grace)
	return errors.Join(err, p.Kill(ctx))
}

// Pause implements [Node].
func (p *Process) Pause(ctx context.Context) error {
	r := p.alive()
	if r == nil {
		return fmt.Errorf("pause %s: %w", p.Name(), errNotRunning)
	}
	members, err := stopTree(ctx, r.proc.pid)
	if err == nil && len(members) == 0 {
		err = errNotRunning
	}
	if err != nil {
		return fmt.Errorf("pause %s: %w", p.Name(), err)
	}
	p.setPaused(r, true)
	return nil
}

// Resume implements [Node].
func (p *Process) Resume(context.Context) error {
	r := p.alive()
	if r == nil {
		return fmt.Errorf("resume %s: %w", p.Name(), errNotRunning)
	}
	// Announced first: what the process does next must come after it in the history.
	p.setPaused(r, false)
	if err := continueTree(r.proc.pid); err != nil {
		return fmt.Errorf("resume %s: %w", p.Name(), err)
	}
	return nil
}

func (p *Process) setPaused(r *run, paused bool) {
	p.mu.Lock()
	changed := r.paused != paused
	r.paused = paused
	p.mu.Unlock()
	state := history.Resumed
	if paused {
		state = history.Paused
	}
	if changed {
		p.announce(history.Process{PID: r.proc.pid, State: state}, true)
	}
}

// retire ends the process for good.
func (p *Process) retire(ctx context.Context) error {
	p.life.Lock()
	p.closed = true
	p.life.Unlock()
	if p.task.end != nil {
		return p.task.end(ctx, p)
	}
	return p.Kill(ctx)
}

// LastLog implements [Node].
func (p *Process) LastLog(n int) []string { return lastLines(p.log, n) }

// LogPath implements [Node].
func (p *Process) LogPath() string { return filepath.Clean(p.log) }
