package stack

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// sessionReport is what runSession prints once everything runs.
type sessionReport struct {
	Session, Lock string
	Reaper        int
}

// runSession makes one of everything at the engine, reports it, and waits to be killed.
func runSession(ctx context.Context) int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var b base
	if err := b.init("", nil); err != nil {
		return fail(err)
	}
	g, err := openEngine(ctx, func(string) {})
	if err != nil {
		return fail(err)
	}
	if err := g.locate(ctx); err != nil {
		return fail(err)
	}
	if err := g.guardedBy(b.reaper); err != nil {
		return fail(err)
	}
	on, err := g.network(ctx, "clients", false)
	if err != nil {
		return fail(err)
	}
	found, err := findImages(ctx, g.client, os.Getenv(KafkaImageEnv), os.Getenv(PostgresImageEnv), func(string) {})
	if err != nil {
		return fail(err)
	}
	for number := range 2 {
		c := g.container(containerSpec{
			name: fmt.Sprint(number), event: "sleeper", image: found.postgres.name, entrypoint: []string{"sleep", "1000"},
			at: []attachment{{network: on, address: on.address(21 + number)}}, ports: []int{postgresPort},
		})
		if err := c.Start(ctx); err != nil {
			return fail(err)
		}
		if number == 1 {
			if err := c.Pause(ctx); err != nil {
				return fail(err)
			}
		}
	}
	if _, err := g.client.VolumeCreate(ctx, client.VolumeCreateOptions{Name: g.name("data"), Labels: g.labelled()}); err != nil {
		return fail(err)
	}
	report := sessionReport{Session: g.id, Lock: g.labels[lockLabel], Reaper: b.reaper.cmd.Process.Pid}
	if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
		return 1
	}
	<-ctx.Done()
	return 0
}

// startSession runs runSession in a child. Whatever the test finds, nothing of it stays.
func startSession(t *testing.T, c *connection) (*exec.Cmd, sessionReport) {
	t.Helper()
	command, program, err := programCommand("test-session")
	require.NoError(t, err)
	cmd := exec.Command(command[0])
	cmd.Env, cmd.Stderr = environ(program...), os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	var report sessionReport
	require.NoError(t, json.NewDecoder(out).Decode(&report))
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		assert.NoError(t, removeSession(context.Background(), c, report.Session))
		assert.NoError(t, os.Remove(report.Lock))
	})
	return cmd, report
}

func TestReaperRemovesContainersOfADeadHarness(t *testing.T) {
	c, _ := needEngine(t)
	cmd, report := startSession(t, c)
	require.Len(t, leftOf(t, c, report.Session), 4, "two containers, a network, a volume")
	require.Equal(t, lockHeld, stateOfLock(report.Lock))
	began := time.Now()
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	require.Eventually(t, func() bool { return len(leftOf(t, c, report.Session)) == 0 }, 15*time.Second, 50*time.Millisecond)
	t.Logf("nothing left %s after SIGKILL", time.Since(began).Round(time.Millisecond))
	require.Eventually(t, func() bool { return !lives(report.Reaper) }, 15*time.Second, 50*time.Millisecond, "the reaper ends")
}

func TestNextStartSweepsDeadSessionsAndSparesTheLiving(t *testing.T) {
	c, _ := needEngine(t)
	dead, deadReport := startSession(t, c)
	living, livingReport := startSession(t, c)
	// In this order the reaper cannot do anything any more.
	require.NoError(t, syscall.Kill(deadReport.Reaper, syscall.SIGKILL))
	require.NoError(t, dead.Process.Kill())
	_ = dead.Wait()
	require.Len(t, leftOf(t, c, deadReport.Session), 4)

	var told []string
	g, err := openEngine(t.Context(), func(line string) { told = append(told, line) })
	require.NoError(t, err)
	assert.Empty(t, leftOf(t, c, deadReport.Session))
	assert.Contains(t, told, "removed what session "+deadReport.Session+" left at the container engine")
	assert.Len(t, leftOf(t, c, livingReport.Session), 4)
	require.NoError(t, g.close())

	require.NoError(t, living.Process.Kill())
	_ = living.Wait()
	require.Eventually(t, func() bool { return len(leftOf(t, c, livingReport.Session)) == 0 }, 15*time.Second, 50*time.Millisecond)
}

func TestSessionIsDeadWhenItsLockIsFree(t *testing.T) {
	dir := t.TempDir()
	free, held := filepath.Join(dir, "free.lock"), filepath.Join(dir, "held.lock")
	require.NoError(t, os.WriteFile(free, nil, 0o600))
	release, err := lockFile(t.Context(), held)
	require.NoError(t, err)
	defer func() { require.NoError(t, release()) }()
	now := time.Now()
	for name, test := range map[string]struct {
		host, lock string
		age        time.Duration
		want       bool
	}{
		"ended":                         {"here", free, time.Second, true},
		"runs":                          {"here", held, time.Second, false},
		"runs for long":                 {"here", held, 48 * time.Hour, false},
		"cache removed":                 {"here", filepath.Join(dir, "none"), time.Hour, false},
		"cache removed long ago":        {"here", filepath.Join(dir, "none"), 25 * time.Hour, true},
		"elsewhere":                     {"there", free, time.Hour, false},
		"elsewhere, for long":           {"there", free, 25 * time.Hour, true},
		"elsewhere, lock of same name":  {"there", held, 25 * time.Hour, true},
		"without labels, made just now": {"", "", 0, false},
	} {
		left := remains{map[string]string{hostLabel: test.host, lockLabel: test.lock}, now.Add(-test.age)}
		assert.Equal(t, test.want, left.dead("here", now), name)
	}
	assert.Equal(t, lockFree, stateOfLock(free), "asking takes no lock for good")
}

func TestSessionLocks(t *testing.T) {
	folder, err := os.MkdirTemp("", "ordeal-locks-")
	require.NoError(t, err)
	defer os.RemoveAll(folder)
	require.NoError(t, os.Chmod(folder, 0o755))
	t.Setenv(CacheEnv, folder)
	dead := filepath.Join(folder, "session-dead.lock")
	recent := filepath.Join(folder, "session-recent.lock")
	old := time.Now().Add(-preparedUnused - time.Hour)
	for _, lock := range []string{dead, recent} {
		require.NoError(t, os.WriteFile(lock, nil, 0o600))
	}
	require.NoError(t, os.Chtimes(dead, old, old))
	s, err := openSession()
	require.NoError(t, err)
	assert.NoFileExists(t, dead)
	assert.FileExists(t, recent)
	lock := s.labels[lockLabel]
	assert.Equal(t, lockHeld, stateOfLock(lock))
	require.NoError(t, os.Chtimes(lock, old, old))
	other, err := openSession()
	require.NoError(t, err)
	assert.FileExists(t, lock, "however old, it is held")
	require.NoError(t, other.end(false))
	assert.Equal(t, lockFree, stateOfLock(other.labels[lockLabel]), "of a session that could not be cleaned")
	require.NoError(t, s.end(true))
	assert.NoFileExists(t, lock)
	assert.NotEqual(t, s.id, other.id)
}

// A child that inherited the lock would keep a dead session alive.
func TestChildrenDoNotInheritTheLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "session.lock")
	release, err := lockFile(t.Context(), path)
	require.NoError(t, err)
	sleep := exec.Command("sleep", "1005")
	require.NoError(t, sleep.Start())
	defer func() {
		_ = sleep.Process.Kill()
		_ = sleep.Wait()
	}()
	require.NoError(t, release())
	assert.Equal(t, lockFree, stateOfLock(path))
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	assert.NoError(t, unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB))
}

func TestReadGuardsOfSessions(t *testing.T) {
	for _, known := range []struct {
		lines []guardLine
		want  map[string]string
	}{
		{[]guardLine{{Session: "a", Engine: "unix:///x"}}, map[string]string{"a": "unix:///x"}},
		{[]guardLine{{Session: "a", Engine: "unix:///x"}, {Release: true, Session: "a"}}, map[string]string{}},
	} {
		read, write, err := os.Pipe()
		require.NoError(t, err)
		for _, line := range known.lines {
			require.NoError(t, json.NewEncoder(write).Encode(line))
		}
		require.NoError(t, write.Close())
		assert.Equal(t, known.want, readGuards(read).sessions)
		require.NoError(t, read.Close())
	}
}

func TestRyukRunsOnlyWhereItsImageIs(t *testing.T) {
	for name, test := range map[string]struct {
		has  []string
		set  string
		want string
	}{
		"without image": {want: "true"},
		"with image":    {has: []string{ryukImage}, want: ""},
		"user decided":  {set: "false", want: "false"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(ryukEnv, test.set)
			t.Setenv(client.EnvOverrideHost, fakeEngine(t, "1.41", library{has: test.has}))
			require.NoError(t, decideRyuk(t.Context()))
			assert.Equal(t, test.want, os.Getenv(ryukEnv))
		})
	}
}
