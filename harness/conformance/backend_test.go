package conformance_test

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	moby "github.com/moby/moby/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/testcontainers/testcontainers-go"
	"go.uber.org/goleak"

	"github.com/ordeal-chaos/ordeal/harness/stack"
)

// suite is one backend under test.
type suite struct {
	stack.Backend
	temp   string         // for its temporary files
	engine *engine        // nil where there are no containers
	pids   map[int]string // all processes that ever were of it
}

// TestBackend asks of every backend what the harness and its scenarios rely on. Where backends differ for a
// good reason, the check says so.
func TestBackend(t *testing.T) {
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			before := goleak.IgnoreCurrent()
			s := &suite{temp: openFolder(t), pids: map[int]string{}}
			s.Backend = b.open(t, s.temp)
			closed := false
			defer func() {
				if !closed {
					assert.NoError(t, s.Close())
				}
			}()
			if b.name == "containers" {
				s.engine = openEngine(t)
			}
			for _, check := range []struct {
				name string
				run  func(*testing.T, *suite)
			}{
				{"lifecycle", lifecycle},
				{"two servers of Postgres", separatePostgres},
				{"refuses", refusesNonsense},
				{"restarts", restarts},
				{"taps", taps},
				{"links", links},
				{"peers", peers},
				{"environments at once share nothing", environmentsAtOnce},
				{"environments after one another share nothing", environmentsInTurn},
				{"services", services},
				{"three brokers", threeBrokers},
			} {
				began := time.Now()
				t.Run(check.name, func(t *testing.T) { check.run(t, s) })
				t.Logf("%s: %s", check.name, time.Since(began).Round(10*time.Millisecond))
			}
			closed = true
			s.leavesNothing(t, before)
		})
	}
}

// openFolder makes a folder that all accounts may enter, unlike those of testing: Postgres may run under another.
func openFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "conformance-")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o711))
	return dir
}

// leavesNothing closes the backend with an environment still open.
func (s *suite) leavesNothing(t *testing.T, before goleak.Option) {
	e, err := s.New(within(t, time.Minute), stack.Options{Dir: t.TempDir(), Topics: topics, Databases: databases, Record: s.note})
	require.NoError(t, err)
	_, err = e.StartService(within(t, time.Minute), stack.Spec{Name: "service", Program: service.Name, Env: []string{"HTTP_ADDR=127.0.0.1:0"}})
	require.NoError(t, err)
	left, err := os.ReadDir(s.temp)
	require.NoError(t, err)
	assert.NotEmpty(t, left, "there is something to remove")
	assert.NotEmpty(t, children(t))
	var session string
	if s.engine != nil {
		session = s.engine.sessionOf(t, e.Brokers()[0].PID())
		assert.NotEmpty(t, s.engine.left(t, session))
	}

	began := time.Now()
	require.NoError(t, s.Close())
	t.Logf("closed in %s", time.Since(began).Round(10*time.Millisecond))
	require.NoError(t, s.Close(), "again is harmless")
	_, err = s.New(within(t, time.Minute), stack.Options{Dir: t.TempDir()})
	assert.ErrorContains(t, err, "backend is closed")
	require.NoError(t, e.Close(context.Background()), "it was closed with its backend")

	left, err = os.ReadDir(s.temp)
	require.NoError(t, err)
	assert.Empty(t, left)
	assert.Empty(t, children(t))
	for pid, name := range s.pids {
		// On an engine elsewhere the numbers say nothing, and its own list, below, everything.
		if s.engine == nil || s.engine.local {
			assert.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH, "%s, process %d", name, pid)
		}
	}
	if s.engine != nil {
		assert.Empty(t, s.engine.left(t, session))
		require.NoError(t, s.engine.Close())
	}
	goleak.VerifyNone(t, before)
}

// children lists the processes that are children of this one, zombies as well.
func children(t *testing.T) []string {
	t.Helper()
	ps := exec.Command("ps", "-A", "-o", "pid=,ppid=,args=")
	out, err := ps.Output()
	require.NoError(t, err)
	var found []string
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if fields[1] == strconv.Itoa(os.Getpid()) && fields[0] != strconv.Itoa(ps.Process.Pid) {
			found = append(found, strings.Join(fields[2:], " "))
		}
	}
	return found
}

// engine is the container engine, asked past the backend.
type engine struct {
	*testcontainers.DockerClient
	local bool // processes in containers are processes of this machine
}

func openEngine(t *testing.T) *engine {
	t.Helper()
	api, err := testcontainers.NewDockerClientWithOpts(within(t, 10*time.Second))
	require.NoError(t, err)
	return &engine{DockerClient: api, local: strings.HasPrefix(api.DaemonHost(), "unix:")}
}

// sessionLabel is on all that one backend makes at an engine.
const sessionLabel = "org.ordeal.session"

// containerOf returns the container whose main process it is, and its labels.
func (g *engine) containerOf(t *testing.T, pid int) (id string, labels map[string]string) {
	t.Helper()
	ctx := within(t, 20*time.Second)
	listed, err := g.ContainerList(ctx, moby.ContainerListOptions{Filters: make(moby.Filters).Add("label", sessionLabel)})
	require.NoError(t, err)
	for _, c := range listed.Items {
		seen, err := g.ContainerInspect(ctx, c.ID, moby.ContainerInspectOptions{})
		if err == nil && seen.Container.State.Pid == pid { // others' containers may be gone by now
			return c.ID, c.Labels
		}
	}
	require.Fail(t, "no container has the process", "%d", pid)
	return "", nil
}

func (g *engine) sessionOf(t *testing.T, pid int) string {
	t.Helper()
	_, labels := g.containerOf(t, pid)
	return labels[sessionLabel]
}

// left names all that the engine has of a session.
func (g *engine) left(t *testing.T, session string) (names []string) {
	t.Helper()
	ctx := within(t, 20*time.Second)
	mine := make(moby.Filters).Add("label", sessionLabel+"="+session)
	containers, err := g.ContainerList(ctx, moby.ContainerListOptions{All: true, Filters: mine})
	require.NoError(t, err)
	for _, c := range containers.Items {
		names = append(names, c.Names...)
	}
	networks, err := g.NetworkList(ctx, moby.NetworkListOptions{Filters: mine})
	require.NoError(t, err)
	for _, n := range networks.Items {
		names = append(names, n.Name)
	}
	volumes, err := g.VolumeList(ctx, moby.VolumeListOptions{Filters: mine})
	require.NoError(t, err)
	for _, v := range volumes.Items {
		names = append(names, v.Name)
	}
	return names
}

// assassinate ends a server's process behind the harness's back, and returns when the harness knows.
func (s *suite) assassinate(t *testing.T, node stack.Node) {
	t.Helper()
	if s.engine == nil {
		require.NoError(t, syscall.Kill(node.PID(), syscall.SIGKILL))
	} else {
		id, _ := s.engine.containerOf(t, node.PID())
		_, err := s.engine.ContainerKill(within(t, 20*time.Second), id, moby.ContainerKillOptions{Signal: "SIGKILL"})
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return !node.Alive() }, 10*time.Second, 5*time.Millisecond, "%s is dead", node.Name())
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
