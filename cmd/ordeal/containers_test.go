package main

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"

	ordeal "github.com/ordeal-chaos/ordeal"
	"github.com/ordeal-chaos/ordeal/harness/stack"
)

// requireEngine skips the test where containers cannot run, and says why. ORDEAL_REQUIRE_CONTAINERS=1 makes
// that a failure.
func requireEngine(t *testing.T) {
	t.Helper()
	var lacks []string
	for _, finding := range stack.Doctor(t.Context()) {
		if strings.HasPrefix(finding.Name, "container") && !finding.OK {
			lacks = append(lacks, finding.Name+": "+finding.Detail)
		}
	}
	if len(lacks) == 0 {
		return
	}
	reason := "no containers can run here: " + strings.Join(lacks, "; ")
	if os.Getenv("ORDEAL_REQUIRE_CONTAINERS") == "1" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// newContainerSite makes a site of which the test fails, too, if anything is left at the container engine.
// What was made there for the site carries the path of a lock in the site's cache.
func newContainerSite(t *testing.T) site {
	t.Helper()
	requireEngine(t)
	s := newSite(t)
	cache := filepath.Join(filepath.Dir(s.tmp), "cache")
	s.env = append(s.env, "ORDEAL_CACHE="+cache)
	engine, err := client.New(client.FromEnv)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, engine.Close()) })
	s.engine = engine
	t.Cleanup(func() { s.requireNothingAtEngine(t, 5*time.Second) })
	return s
}

// atEngine names the containers, networks and volumes of the site.
func (s site) atEngine(t *testing.T) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second) // cleanups have no other
	defer cancel()
	var found []string
	add := func(kind, name string, labels map[string]string) {
		if strings.HasPrefix(labels["org.ordeal.lock"], filepath.Dir(s.tmp)+"/") {
			found = append(found, kind+" "+name)
		}
	}
	list, err := s.engine.ContainerList(ctx, client.ContainerListOptions{All: true})
	require.NoError(t, err)
	for _, c := range list.Items {
		add("container", strings.Join(c.Names, " "), c.Labels)
	}
	networks, err := s.engine.NetworkList(ctx, client.NetworkListOptions{})
	require.NoError(t, err)
	for _, n := range networks.Items {
		add("network", n.Name, n.Labels)
	}
	volumes, err := s.engine.VolumeList(ctx, client.VolumeListOptions{})
	require.NoError(t, err)
	for _, v := range volumes.Items {
		add("volume", v.Name, v.Labels)
	}
	return found
}

// requireNothingAtEngine waits until nothing of the site is at the engine any more.
func (s site) requireNothingAtEngine(t *testing.T, limit time.Duration) {
	t.Helper()
	for deadline := time.Now().Add(limit); ; time.Sleep(50 * time.Millisecond) {
		left := s.atEngine(t)
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("left at the engine after %s:\n%s", limit, strings.Join(left, "\n"))
			return
		}
	}
}

func TestContainersRun(t *testing.T) {
	s := newContainerSite(t)
	run := s.run(t, "run", "calm", "broker-crash", "--backend", containers, "--json", "--out", s.out)
	run.requireCode(t, exitPass)
	s.requireNothingAtEngine(t, 0)
	s.requireReports(t, "calm", "broker-crash")
	said := decode(t, run.stdout.String())
	require.Equal(t, containers, said.Backend)
	require.Regexp(t, `kafka.* \(sha256:[0-9a-f]{12}\)$`, said.Versions["broker"])
	require.Regexp(t, `postgres.* \(sha256:[0-9a-f]{12}\)$`, said.Versions["postgres"])
	require.Equal(t, "fast", said.Versions["kafka-profile"])
	require.Equal(t, "1", said.Versions["brokers"])
	require.Contains(t, said.Versions["engine"], "API ")
	require.NotEmpty(t, said.Scenarios[1].Faults[0].Evidence)
	require.Regexp(t, `(?m)^\S+ starting Kafka \(1 broker\)`, run.stderr.String(), "what is awaited")
}

func TestContainersThreeBrokers(t *testing.T) {
	s := newContainerSite(t)
	name := scenarioOnThree(t)
	run := s.run(t, "run", name, "--backend", containers, "--brokers", "3", "--json", "--out", s.out)
	run.requireCode(t, exitPass)
	s.requireNothingAtEngine(t, 0)
	said := decode(t, run.stdout.String())
	require.Equal(t, "3", said.Versions["brokers"])
	require.Contains(t, said.Scenarios[0].Repeat, "run "+name+" --backend containers --brokers 3 --seed ")
	for _, fault := range said.Scenarios[0].Faults {
		require.NotEmpty(t, fault.Evidence, fault.Name)
	}
	require.Regexp(t, `(?m)^\S+ starting Kafka \(3 brokers\)`, run.stderr.String())
}

// scenarioOnThree is the first scenario that needs three brokers.
func scenarioOnThree(t *testing.T) string {
	t.Helper()
	for _, s := range ordeal.Catalogue(ordeal.Sound) {
		if s.Brokers == 3 {
			return s.Name
		}
	}
	require.FailNow(t, "no scenario needs three brokers")
	return ""
}

// The same anomaly as on embedded, and a stack that people can look into.
func TestContainersPlantedBug(t *testing.T) {
	s := newContainerSite(t)
	run := s.start(t, "run", "redelivery", "--without", "inbox-dedup", "--backend", containers, "--keep", "--json", "--out", s.out)
	run.await(t, "process stock: pid")
	s.requireKept(t, run.stderr.String())
	require.Regexp(t, `broker kafka-1: 127\.0\.0\.1:\d+ \(it advertises a dead address`, run.stderr.String(), "published for people, on loopback")
	run.interrupt(t)
	run.requireCode(t, exitFail)
	s.requireNothingAtEngine(t, 0)
	require.Equal(t, "double-effect", decode(t, run.stdout.String()).Scenarios[0].Anomalies[0].Name)
}

func TestContainersServices(t *testing.T) {
	s := newContainerSite(t)
	run := s.run(t, "run", "calm", "--backend", containers, "--services", "container", "--json", "--out", s.out)
	run.requireCode(t, exitPass)
	s.requireNothingAtEngine(t, 0)
	require.Contains(t, decode(t, run.stdout.String()).Repeat, "--services container")
}

// Ctrl-C while brokers start, and while orders flow.
func TestContainersInterrupted(t *testing.T) {
	for name, sign := range map[string]string{
		"starting": "starting Kafka", "running": "broker-outage: fault broker-outage",
	} {
		t.Run(name, func(t *testing.T) {
			s := newContainerSite(t)
			run := s.start(t, "run", "broker-outage", "calm", "--backend", containers, "--parallel", "1", "--out", s.out)
			run.await(t, sign)
			if name == "starting" {
				require.Eventually(t, func() bool { return len(s.atEngine(t)) > 0 }, 5*time.Second, 5*time.Millisecond)
			}
			run.interrupt(t)
			run.requireEnd(t, 10*time.Second)
			run.requireCode(t, exitInterrupted)
			s.requireNothingAtEngine(t, 0)
			s.requireNothingLeft(t, 0)
			require.NotContains(t, run.stdout.String(), "harness", "it did as it was told")
		})
	}
}

// upAtEngine starts a run and returns when Kafka, Postgres and services run.
func (s site) upAtEngine(t *testing.T) *process {
	t.Helper()
	run := s.start(t, "run", "broker-outage", "--backend", containers, "--out", s.out)
	up := func() bool { return len(s.atEngine(t)) >= 3 && len(s.processes(t)) >= 4 } // with a network; ordeal, its reaper, order, stock
	require.Eventually(t, up, 90*time.Second, 50*time.Millisecond, "the stack is not up:\n%s", &run.stderr)
	return run
}

// SIGKILL: the reaper removes the session.
func TestContainersKilled(t *testing.T) {
	s := newContainerSite(t)
	run := s.upAtEngine(t)
	require.NoError(t, run.Process.Kill())
	<-run.done
	s.requireNothingAtEngine(t, 15*time.Second)
	s.requireNothingLeft(t, 3*time.Second)
}

// SIGKILL of the reaper too: the next start removes what both left, and nothing else.
func TestContainersSwept(t *testing.T) {
	s := newContainerSite(t)
	run := s.upAtEngine(t)
	for _, child := range s.processes(t) { // "/proc/PID/environ …"
		pid, err := strconv.Atoi(strings.Split(child, "/")[2])
		require.NoError(t, err)
		if pid != run.Process.Pid {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended by itself
		}
	}
	require.NoError(t, run.Process.Kill())
	<-run.done
	left, err := filepath.Glob(filepath.Join(s.tmp, "*"))
	require.NoError(t, err)
	for _, path := range left { // temporary files are the reaper's alone
		require.NoError(t, os.RemoveAll(path))
	}
	require.Never(t, func() bool { return len(s.atEngine(t)) == 0 }, 2*time.Second, 100*time.Millisecond, "nobody is there to remove it")

	next := s.run(t, "run", "calm", "--backend", containers, "--out", s.out)
	next.requireCode(t, exitPass)
	require.Contains(t, next.stderr.String(), "removed what session")
}
