package stack

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// bare returns an environment without servers, for tests of processes.
func bare(t *testing.T) (*Environment, *events) {
	return newEnvironment(t, newBackend(t), func(o *Options) { o.Databases, o.Topics = nil, nil })
}

// httpSpec is a service that answers with its pid.
func httpSpec(t *testing.T, e *Environment, name string) (Spec, string) {
	t.Helper()
	port, err := e.ReservePort("order")
	require.NoError(t, err)
	url := "http://" + port.Addr() + "/ready"
	return Spec{
		Name: name, Program: "test-http", Env: []string{"HTTP_ADDR=" + port.Addr()},
		Ports: []*Port{port}, Ready: e.HTTPReady(url),
	}, url
}

func get(url string) (string, error) {
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

func TestProcessKeepsItsPortOverKillAndRestart(t *testing.T) {
	e, seen := bare(t)
	spec, url := httpSpec(t, e, "order")
	p, err := e.StartService(t.Context(), spec)
	require.NoError(t, err)
	first := p.PID()
	answer, err := get(url)
	require.NoError(t, err)
	assert.Equal(t, fmt.Sprint(first), answer)
	assert.Error(t, p.Start(t.Context()), "it is running")

	require.NoError(t, p.Kill(t.Context()))
	assert.False(t, p.Alive())
	_, err = get(url)
	assert.ErrorIs(t, err, syscall.ECONNREFUSED)
	require.NoError(t, p.Kill(t.Context()), "killing the dead is no error")

	require.NoError(t, p.Start(t.Context()))
	assert.NotEqual(t, first, p.PID())
	answer, err = get(url)
	require.NoError(t, err)
	assert.Equal(t, fmt.Sprint(p.PID()), answer)

	require.NoError(t, p.Terminate(t.Context()))
	assert.Equal(t, []string{"started", "ready", "exited killed", "started", "ready", "exited 0"}, seen.of("order"))
	assert.Empty(t, e.UnexpectedExits())

	log, err := os.ReadFile(p.LogPath())
	require.NoError(t, err)
	assert.Equal(t, 2, strings.Count(string(log), "serving\n"), "both starts are in one log: %s", log)
	assert.Contains(t, string(log), "--- start 2 ")
	assert.Equal(t, "serving", p.LastLog(1)[0])
}

func TestStartFailsAsSoonAsTheProcessEnds(t *testing.T) {
	e, _ := bare(t)
	began := time.Now()
	_, err := e.StartService(t.Context(), Spec{
		Name: "order", Program: "test-broken", Ready: func(context.Context) error { return fmt.Errorf("nobody answers") },
	})
	assert.Less(t, time.Since(began), 10*time.Second)
	assert.ErrorContains(t, err, "start order: process ended before it was ready: exit status 3")
	assert.ErrorContains(t, err, "nobody answers")
	assert.ErrorContains(t, err, "cannot start: no configuration")
	require.Len(t, e.UnexpectedExits(), 1)
	assert.Equal(t, 3, e.UnexpectedExits()[0].Code)
}

func TestStartNamesItsDeadlineAndQuotesTheLog(t *testing.T) {
	e, seen := bare(t)
	_, err := e.StartService(t.Context(), Spec{
		Name: "order", Program: "test-stubborn", ReadyTimeout: 300 * time.Millisecond,
		Ready: func(context.Context) error { return fmt.Errorf("503 database is down") },
	})
	assert.ErrorContains(t, err, "deadline of 300ms")
	assert.ErrorContains(t, err, "503 database is down")
	assert.ErrorContains(t, err, "not stopping")
	assert.Equal(t, []string{"started"}, seen.of("order"))
}

func TestStartSaysWhatIsMissing(t *testing.T) {
	e, _ := bare(t)
	_, err := e.StartService(t.Context(), Spec{Name: "a", Command: []string{"/no/such/program"}})
	assert.ErrorIs(t, err, os.ErrNotExist)
	_, err = e.StartService(t.Context(), Spec{Name: "b"})
	assert.ErrorContains(t, err, "neither command nor program")
	_, err = e.StartService(t.Context(), Spec{Name: "a", Command: []string{"true"}})
	assert.ErrorContains(t, err, "name is taken")
	_, err = e.StartService(t.Context(), Spec{Name: "../a", Command: []string{"true"}})
	assert.ErrorContains(t, err, "not a usable name")
}

func TestTerminateKillsAProcessThatDoesNotStop(t *testing.T) {
	e, seen := bare(t)
	p, err := e.StartService(t.Context(), Spec{Name: "order", Program: "test-stubborn", Grace: 200 * time.Millisecond})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return slices.Contains(p.LastLog(9), "not stopping") }, 10*time.Second, time.Millisecond)
	assert.ErrorIs(t, p.Terminate(t.Context()), ErrOutlived)
	assert.False(t, p.Alive())
	assert.Equal(t, []string{"started", "ready", "exited killed"}, seen.of("order"))
}

func TestAnExitNobodyAskedForIsRecorded(t *testing.T) {
	e, _ := bare(t)
	spec, _ := httpSpec(t, e, "order")
	p, err := e.StartService(t.Context(), spec)
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(p.PID(), syscall.SIGSEGV))
	require.Eventually(t, func() bool { return !p.Alive() }, 10*time.Second, time.Millisecond)
	exits := e.UnexpectedExits()
	require.Len(t, exits, 1)
	assert.Equal(t, "order", exits[0].Name)
	require.NoError(t, p.Start(t.Context()), "it can be started again")
}

// family is a shell with a child in its own group and one in a session of its own.
var family = Spec{Name: "family", Command: []string{"sh", "-c", "sleep 1000 & setsid sleep 1001 & wait"}}

// startFamily returns the process and the pids of its tree of three.
func startFamily(t *testing.T, e *Environment) (Node, []int) {
	t.Helper()
	p, err := e.StartService(t.Context(), family)
	require.NoError(t, err)
	var pids []int
	require.Eventually(t, func() bool {
		members, err := tree(p.PID())
		require.NoError(t, err)
		pids = pids[:0]
		groups := map[int]bool{}
		for _, m := range members {
			pids = append(pids, m.pid)
			groups[m.group] = true
		}
		return len(pids) == 3 && len(groups) == 2
	}, 10*time.Second, time.Millisecond)
	return p, pids
}

func lives(pid int) bool {
	p, ok := processOf(pid)
	return ok && !p.dead()
}

func TestKillReachesDescendantsThatLeftTheGroup(t *testing.T) {
	e, _ := bare(t)
	p, pids := startFamily(t, e)
	require.NoError(t, p.Kill(t.Context()))
	for _, pid := range pids {
		assert.False(t, lives(pid))
	}
}

func TestPauseStopsAllAndAPausedProcessCanBeKilled(t *testing.T) {
	e, seen := bare(t)
	p, pids := startFamily(t, e)
	require.NoError(t, p.Pause(t.Context()))
	for _, pid := range pids {
		state, ok := processOf(pid)
		assert.True(t, ok && state.state == 'T', "pid %d is stopped", pid)
	}
	assert.True(t, p.Alive(), "paused is alive")
	require.NoError(t, p.Resume(t.Context()))
	require.Eventually(t, func() bool {
		state, ok := processOf(pids[2])
		return ok && state.state != 'T'
	}, 10*time.Second, time.Millisecond)
	require.NoError(t, p.Pause(t.Context()))
	require.NoError(t, p.Kill(t.Context()))
	assert.Equal(t, []string{"started", "ready", "paused", "resumed", "paused", "exited killed"}, seen.of("family"))
	for _, pid := range pids {
		assert.False(t, lives(pid))
	}
	assert.ErrorIs(t, p.Pause(t.Context()), errNotRunning)
	assert.ErrorIs(t, p.Resume(t.Context()), errNotRunning)
}

func TestTerminateWakesAPausedProcess(t *testing.T) {
	e, seen := bare(t)
	spec, _ := httpSpec(t, e, "order")
	p, err := e.StartService(t.Context(), spec)
	require.NoError(t, err)
	require.NoError(t, p.Pause(t.Context()))
	require.NoError(t, p.Terminate(t.Context()))
	assert.Equal(t, []string{"started", "ready", "paused", "exited 0"}, seen.of("order"))
}

func TestWhatAProcessLeavesBehindInItsGroupEndsWithIt(t *testing.T) {
	e, _ := bare(t)
	p, err := e.StartService(t.Context(), Spec{Name: "orphans", Command: []string{"sh", "-c", "sleep 1002 & echo $!"}})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return !p.Alive() }, 10*time.Second, time.Millisecond)
	var orphan int
	_, err = fmt.Sscan(p.LastLog(1)[0], &orphan)
	require.NoError(t, err)
	assert.False(t, lives(orphan))
	assert.Equal(t, history.Exited, e.UnexpectedExits()[0].State)
}

func TestNothingStartsInAClosedEnvironment(t *testing.T) {
	e, _ := bare(t)
	spec, _ := httpSpec(t, e, "order")
	p, err := e.StartService(t.Context(), spec)
	require.NoError(t, err)
	require.NoError(t, e.Close(t.Context()))
	require.NoError(t, e.Close(t.Context()), "again is no error")
	assert.False(t, p.Alive())
	assert.Error(t, p.Start(t.Context()))
	_, err = e.StartService(t.Context(), Spec{Name: "late", Command: []string{"true"}})
	assert.ErrorContains(t, err, "environment is closed")
	_, err = e.ReservePort("order")
	assert.ErrorContains(t, err, "environment is closed")
	assert.FileExists(t, p.LogPath(), "logs are kept")
}

func TestCloseRemovesTheDataOfItsEnvironment(t *testing.T) {
	e, _ := newEnvironment(t, newBackend(t), nil)
	require.Len(t, e.dirs, 2, "of Postgres and broker")
	for _, dir := range e.dirs {
		require.DirExists(t, dir)
	}
	require.NoError(t, e.Close(t.Context()))
	for _, dir := range e.dirs {
		assert.NoDirExists(t, dir)
	}
}
