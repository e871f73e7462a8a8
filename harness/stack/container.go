package stack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	mobycontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// containerSpec says how to run one container.
type containerSpec struct {
	name         string // unique in the session: "3-kafka-1"
	event        string // its name in the history: "kafka-1"
	image        string
	env          map[string]string
	entrypoint   []string // nil leaves the image's
	cmd          []string
	at           []attachment // the first is the network of clients
	ports        []int        // that it listens on, published too
	files        []testcontainers.ContainerFile
	ready        func(context.Context) error
	readyTimeout time.Duration // 0 means 60 s
	grace        time.Duration // between the request to stop and SIGKILL; 0 means 10 s
}

// container is a supervised container, restartable with its data under the same addresses. It is a [Node].
type container struct {
	engine *engine
	spec   containerSpec

	life sync.Mutex // held while it is created, started or removed

	mu        sync.Mutex
	id        string      // "" until created
	published map[int]int // its port → the engine's host's
	run       *containerRun
	starts    int
	closed    bool
	log       string // path; "" drops it
	record    recorder
	since     time.Time // when log began
}

// containerRun is one start of a container.
type containerRun struct {
	pid    int
	done   chan struct{} // closed when it has exited, its log is written, and its end was announced
	end    string        // how it ended; valid once done is closed
	code   int
	asked  bool // the harness wanted it to end; under container.mu
	paused bool // under container.mu
}

// container describes a container. Start creates it.
func (g *engine) container(spec containerSpec) *container {
	if spec.readyTimeout == 0 {
		spec.readyTimeout = time.Minute
	}
	if spec.grace == 0 {
		spec.grace = 10 * time.Second
	}
	return &container{engine: g, spec: spec, record: func(history.Process, bool) {}}
}

// Name implements [Node].
func (c *container) Name() string { return c.spec.event }

// PID implements [Node]: the process id on the engine's host.
func (c *container) PID() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.run == nil {
		return 0
	}
	return c.run.pid
}

// Alive implements [Node].
func (c *container) Alive() bool { return c.alive() != nil }

func (c *container) alive() *containerRun {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.run == nil {
		return nil
	}
	select {
	case <-c.run.done:
		return nil
	default:
		return c.run
	}
}

// host is the container's own address, on the network of clients.
func (c *container) host() netip.Addr { return c.spec.at[0].address }

// address is where to reach the container's port from this machine. It is fixed once the container was
// created.
func (c *container) address(port int) string {
	if c.engine.direct {
		return net.JoinHostPort(c.host().String(), strconv.Itoa(port))
	}
	return c.publishedAddress(port)
}

// publishedAddress is the port's address on the engine's host, which people can use.
func (c *container) publishedAddress(port int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return net.JoinHostPort(c.engine.bind.String(), strconv.Itoa(c.published[port]))
}

// published is the address of a server for people: of a container, its first port on the engine's host.
func published(server Node, addr string) string {
	if c, ok := server.(*container); ok {
		return c.publishedAddress(c.spec.ports[0])
	}
	return addr
}

// Start implements [Node]. A container that is not ready in time is left running; the error quotes its log.
func (c *container) Start(ctx context.Context) error {
	r, err := c.spawn(ctx)
	if err != nil {
		return fmt.Errorf("start %s: %w", c.Name(), err)
	}
	if err := c.awaitReady(ctx, r); err != nil {
		return fmt.Errorf("start %s: %w%s", c.Name(), err, quoteLog(c.LastLog(15)))
	}
	c.announce(history.Process{PID: r.pid, State: history.Ready}, true)
	return nil
}

func (c *container) spawn(ctx context.Context) (*containerRun, error) {
	c.life.Lock()
	defer c.life.Unlock()
	if c.alive() != nil {
		return nil, errors.New("already running")
	}
	if c.closed {
		return nil, errors.New("its environment is closed")
	}
	began := time.Now()
	// What a restarted container logged before is written already. A new one's log is taken whole: the engine may
	// stamp its first lines earlier than the time at which it says that it started.
	since := began
	if c.id == "" {
		since = time.Unix(0, 0)
		if err := c.create(ctx); err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	call, cancel := whole(ctx)
	defer cancel()
	if _, err := c.engine.client.ContainerStart(call, c.id, client.ContainerStartOptions{}); err != nil {
		return nil, err
	}
	// Whatever happens next, it runs: supervision begins before anything can fail.
	r := &containerRun{done: make(chan struct{})}
	c.mu.Lock()
	c.run = r
	c.starts++
	c.writeLog(fmt.Sprintf("--- start %d %s %s\n", c.starts, began.Format("15:04:05.000"), c.spec.image))
	c.mu.Unlock()
	seen, err := c.engine.client.ContainerInspect(call, c.id, client.ContainerInspectOptions{})
	if err == nil {
		r.pid = seen.Container.State.Pid
	}
	c.announce(history.Process{PID: r.pid, State: history.Started}, true)
	go c.supervise(r, since) // awaited through r.done
	return r, err
}

// supervise writes the log of one run, waits for its end, and announces it.
func (c *container) supervise(r *containerRun, since time.Time) {
	// Ends with the run: removal of the container ends both requests.
	ctx := context.Background()
	var wait sync.WaitGroup
	wait.Go(func() { c.follow(ctx, since) })
	waiting := c.engine.client.ContainerWait(ctx, c.id, client.ContainerWaitOptions{Condition: mobycontainer.WaitConditionNotRunning})
	select {
	case result := <-waiting.Result:
		r.code = int(result.StatusCode)
	case err := <-waiting.Error:
		r.code, r.end = -1, err.Error() // the engine is gone, or the container was removed
	}
	wait.Wait()
	event := history.Process{PID: r.pid, State: history.Exited, Code: r.code}
	// Engines report a death by signal as shells do.
	if r.code > 128 && r.code < 128+64 {
		event.Code, event.Signal = 0, syscall.Signal(r.code-128).String()
		r.end = "signal: " + event.Signal
	}
	if r.end == "" {
		r.end = fmt.Sprintf("exit status %d", r.code)
	}
	c.mu.Lock()
	asked := r.asked
	c.mu.Unlock()
	c.announce(event, asked)
	close(r.done)
}

func (c *container) announce(event history.Process, asked bool) {
	c.mu.Lock()
	record := c.record
	c.mu.Unlock()
	event.Name = c.spec.event
	record(event, asked)
}

// awaitReady polls the readiness condition until it holds, the container exits, or time is up.
func (c *container) awaitReady(ctx context.Context, r *containerRun) error {
	return untilReady(ctx, c.spec.readyTimeout, c.spec.ready, func() error {
		select {
		case <-r.done:
			return fmt.Errorf("container ended before it was ready: %s", r.end)
		default:
			return nil
		}
	})
}

// Kill implements [Node].
func (c *container) Kill(ctx context.Context) error {
	r := c.alive()
	if r == nil {
		return nil
	}
	c.wanted(r)
	ctx, cancel := bounded(ctx)
	defer cancel()
	if _, err := c.engine.client.ContainerKill(ctx, c.id, client.ContainerKillOptions{Signal: "SIGKILL"}); err != nil && c.alive() != nil {
		return fmt.Errorf("kill %s: %w", c.Name(), err)
	}
	return c.ended(ctx, r)
}

// wanted marks the run's end as asked for, and says whether it is paused.
func (c *container) wanted(r *containerRun) (paused bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.asked = true
	return r.paused
}

func (c *container) isPaused(r *containerRun) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return r.paused
}

func (c *container) ended(ctx context.Context, r *containerRun) error {
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("await exit of %s: %w", c.Name(), context.Cause(ctx))
	}
}

// Terminate implements [Node], with the stop signal of the image.
func (c *container) Terminate(ctx context.Context) error {
	r := c.alive()
	if r == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.spec.grace+callTimeout)
	defer cancel()
	if c.wanted(r) {
		if _, err := c.engine.client.ContainerUnpause(ctx, c.id, client.ContainerUnpauseOptions{}); err != nil {
			return fmt.Errorf("terminate %s: %w", c.Name(), err)
		}
	}
	seconds := int(c.spec.grace.Seconds())
	if _, err := c.engine.client.ContainerStop(ctx, c.id, client.ContainerStopOptions{Timeout: &seconds}); err != nil && c.alive() != nil {
		return fmt.Errorf("terminate %s: %w", c.Name(), err)
	}
	if err := c.ended(ctx, r); err != nil {
		return err
	}
	if r.code == 128+int(syscall.SIGKILL) {
		return fmt.Errorf("terminate %s: %w (%s), killed", c.Name(), ErrOutlived, c.spec.grace)
	}
	return nil
}

// Pause implements [Node], by the engine's freezer.
func (c *container) Pause(ctx context.Context) error {
	r := c.alive()
	if r == nil {
		return fmt.Errorf("pause %s: %w", c.Name(), errNotRunning)
	}
	attempts, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	var busy error
	err := await(attempts, "the engine's freezer", func() (bool, error) {
		_, err := c.engine.client.ContainerPause(attempts, c.id, client.ContainerPauseOptions{})
		switch {
		case err == nil, strings.Contains(err.Error(), "already paused"):
			return true, nil
		case strings.Contains(err.Error(), "unable to freeze"):
			busy = err // the processes of a busy machine did not come to rest in time, and go on
			return false, nil
		}
		return false, err
	})
	if err != nil {
		return fmt.Errorf("pause %s: %w", c.Name(), errors.Join(err, busy))
	}
	c.setPaused(r, true)
	return nil
}

// Resume implements [Node].
func (c *container) Resume(ctx context.Context) error {
	r := c.alive()
	if r == nil {
		return fmt.Errorf("resume %s: %w", c.Name(), errNotRunning)
	}
	// Announced first: what the container does next must come after it in the history.
	c.setPaused(r, false)
	ctx, cancel := bounded(ctx)
	defer cancel()
	if _, err := c.engine.client.ContainerUnpause(ctx, c.id, client.ContainerUnpauseOptions{}); err != nil && !strings.Contains(err.Error(), "not paused") {
		return fmt.Errorf("resume %s: %w", c.Name(), err)
	}
	return nil
}

func (c *container) setPaused(r *containerRun, paused bool) {
	c.mu.Lock()
	changed := r.paused != paused
	r.paused = paused
	c.mu.Unlock()
	state := history.Resumed
	if paused {
		state = history.Paused
	}
	if changed {
		c.announce(history.Process{PID: r.pid, State: state}, true)
	}
}

// retire ends the container for good.
func (c *container) retire(ctx context.Context) error { return c.remove(ctx) }

// remove kills the container and removes it with its volumes. It is idempotent.
func (c *container) remove(ctx context.Context) error {
	c.life.Lock()
	defer c.life.Unlock()
	c.closed = true
	if c.id == "" {
		return nil
	}
	r := c.alive()
	if r != nil {
		c.wanted(r)
	}
	if err := removeContainer(ctx, c.engine.client, c.id); err != nil {
		return fmt.Errorf("remove %s: %w", c.Name(), err)
	}
	if r != nil {
		return c.ended(ctx, r)
	}
	return nil
}

func removeContainer(ctx context.Context, api client.APIClient, id string) error {
	_, err := api.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	return unlessGone(err)
}
