package stack

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A harness that dies, however it does, leaves no process, no shared memory and no folder within 3 s.
func TestReaperCleansUpAfterADeadHarness(t *testing.T) {
	for name, death := range map[string]struct {
		end func(pid int) error
		env string
	}{
		"killed":              {end: func(pid int) error { return syscall.Kill(pid, syscall.SIGKILL) }},
		"crashed":             {end: func(pid int) error { return syscall.Kill(pid, syscall.SIGSEGV) }},
		"Ctrl-C to its group": {end: func(pid int) error { return syscall.Kill(-pid, syscall.SIGINT) }},
		"terminal closed":     {end: func(pid int) error { return syscall.Kill(-pid, syscall.SIGHUP) }},
		"killed while paused": {end: func(pid int) error { return syscall.Kill(pid, syscall.SIGKILL) }, env: "HARNESS_PAUSE=1"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			cmd, err := harnessCommand(dir, death.env)
			require.NoError(t, err)
			cmd.Stderr = nil // a crash prints all goroutines
			out, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			defer func() { _ = cmd.Process.Kill() }()
			var report harnessReport
			require.NoError(t, json.NewDecoder(out).Decode(&report))

			require.DirExists(t, report.Tmp)
			all := []int{escaped(t, report.PIDs[2])} // the last that the shell starts
			for _, pid := range report.PIDs {
				members, err := tree(pid)
				require.NoError(t, err)
				require.NotEmpty(t, members)
				for _, p := range members {
					all = append(all, p.pid)
				}
			}
			require.GreaterOrEqual(t, len(all), 9, "four of Postgres, broker, shell with two children, reaper")
			require.Len(t, segmentsBy(t, report.PIDs...), 1)

			require.NoError(t, death.end(cmd.Process.Pid))
			_ = cmd.Wait()
			require.Eventually(t, func() bool {
				for _, pid := range all {
					if lives(pid) {
						return false
					}
				}
				return true
			}, 3*time.Second, 10*time.Millisecond, "all processes end")
			assert.Empty(t, segmentsBy(t, report.PIDs...))
			assert.NoDirExists(t, report.Tmp)
			assert.FileExists(t, filepath.Join(dir, "logs", "postgres.log"), "logs are kept")
		})
	}
}

// escaped waits for the process that left the shell's tree, and returns it. It is known by the mark it
// shares with the shell.
func escaped(t *testing.T, shell int) (pid int) {
	t.Helper()
	env, err := os.ReadFile("/proc/" + itoa(shell) + "/environ")
	require.NoError(t, err)
	var mark string
	for _, kv := range strings.Split(string(env), "\x00") {
		if strings.HasPrefix(kv, guardEnv+"=") {
			mark = kv
		}
	}
	require.NotEmpty(t, mark)
	require.Eventually(t, func() bool {
		for _, candidate := range processesWith(mark) {
			command, _ := os.ReadFile("/proc/" + itoa(candidate) + "/cmdline")
			if p, ok := processOf(candidate); ok && string(command) == "sleep\x001001\x00" && p.group == candidate {
				pid = candidate
				return true
			}
		}
		return false
	}, 10*time.Second, 10*time.Millisecond)
	members, err := tree(shell)
	require.NoError(t, err)
	for _, p := range members {
		require.NotEqual(t, pid, p.pid, "it left the tree")
	}
	return pid
}

func TestReaperSparesAProcessThatReusedAPid(t *testing.T) {
	e, _ := bare(t)
	p, err := e.StartService(t.Context(), Spec{Name: "bystander", Command: []string{"sleep", "1003"}})
	require.NoError(t, err)
	g := guarded{processes: map[int]guardLine{p.PID(): {PID: p.PID(), Started: "another time"}}}
	g.killAll(t.Context(), guardEnv+"=nobody")
	assert.True(t, lives(p.PID()))
	child, ok := processOf(p.PID())
	require.True(t, ok)
	g.processes[p.PID()] = guardLine{PID: p.PID(), Started: child.started}
	g.killAll(t.Context(), guardEnv+"=nobody")
	assert.False(t, lives(p.PID()))
}

func TestReadGuards(t *testing.T) {
	g := readGuards(strings.NewReader(`{"pid":7,"started":"1"}
{"dir":"/a"}
{"dir":"/b"}
{"pid":8,"started":"2","data":"/d"}
{"release":true,"pid":7}
{"release":true,"dir":"/a"}
{"pid":9,"sta`))
	assert.Equal(t, map[int]guardLine{8: {PID: 8, Started: "2", Data: "/d"}}, g.processes)
	assert.Equal(t, map[string]struct{}{"/b": {}}, g.dirs)
}

func TestNothingStartsWithoutAReaper(t *testing.T) {
	r, err := startReaper()
	require.NoError(t, err)
	defer r.Close()
	require.NoError(t, r.cmd.Process.Kill())
	require.Eventually(t, func() bool { return !lives(r.cmd.Process.Pid) }, 10*time.Second, time.Millisecond)
	p := &Process{
		task: task{Spec: Spec{Name: "order", Command: []string{"sleep", "1004"}}, stop: syscall.SIGTERM},
		log:  filepath.Join(t.TempDir(), "log"), reaper: r, record: (&Environment{}).recordTo(nil),
	}
	assert.ErrorContains(t, p.Start(t.Context()), "tell reaper")
	assert.False(t, p.Alive())
	assert.Empty(t, children(t))
}
