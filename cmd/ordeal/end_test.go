package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/harness/report"
)

// busy starts a run and returns when its first scenario is under way, with more to come.
func (s site) busy(t *testing.T) *process {
	t.Helper()
	p := s.start(t, "run", "broker-outage", "calm", "--parallel", "1", "--out", s.out)
	p.await(t, "broker-outage: fault broker-outage") // injected, or measured
	require.Greater(t, len(s.processes(t)), 4, "ordeal, its reaper, Postgres, Kafka and services")
	return p
}

func TestInterruptedRun(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	run := s.busy(t)
	run.interrupt(t)
	run.requireEnd(t, 5*time.Second)
	s.requireNothingLeft(t, 0)
	run.requireCode(t, exitInterrupted)
	s.requireReports(t, "broker-outage")
	require.NoDirExists(t, filepath.Join(s.out, "calm"), "nothing new is begun")
	require.Regexp(t, `(?m)^UNKNOWN  .*; interrupted before the end`, run.stdout.String())
	require.Contains(t, run.stdout.String(), "\n  ? unknown: interrupted before its end\n")
	require.NotContains(t, run.stdout.String(), "harness", "it did as it was told")

	saved, err := os.ReadFile(filepath.Join(s.out, report.JSONFile))
	require.NoError(t, err)
	said := decode(t, string(saved))
	require.True(t, said.Interrupted)
	require.Equal(t, "unknown", said.Verdict)
	junit, err := os.ReadFile(filepath.Join(s.out, report.JUnitFile))
	require.NoError(t, err)
	require.Contains(t, string(junit), "the run was interrupted: results are missing")

	check := s.run(t, "check", filepath.Join(s.out, "broker-outage"))
	check.requireCode(t, exitUnknown)
}

// The second Ctrl-C does not wait for anything, and still nothing is left.
func TestInterruptedTwice(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	run := s.busy(t)
	began := time.Now()
	for ended := false; !ended; { // one that comes while the first is being handled is not counted
		run.interrupt(t)
		select {
		case <-run.done:
			ended = true
		case <-time.After(10 * time.Millisecond):
			require.Less(t, time.Since(began), 2*time.Second, "still running")
		}
	}
	status, ok := run.ProcessState.Sys().(syscall.WaitStatus)
	require.True(t, ok)
	require.True(t, status.Signaled(), "it ended by the signal: %s", run.ProcessState)
	s.requireNothingLeft(t, 3*time.Second)
}

func TestKilledRun(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	run := s.busy(t)
	require.NoError(t, run.Process.Kill())
	<-run.done
	s.requireNothingLeft(t, 3*time.Second)
}
