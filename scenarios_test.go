package ordeal_test

import (
	"context"
	"flag"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	ordeal "github.com/ordeal-chaos/ordeal"
	"github.com/ordeal-chaos/ordeal/faults"
	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/check"
	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/stack"
	"github.com/ordeal-chaos/ordeal/services"
)

func TestMain(m *testing.M) {
	// Scenarios mostly wait for timers: more of them run at a time than there are cores.
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	harness.Main(m, ordeal.Programs()...)
}

func sound(options ...ordeal.Option) harness.System { return ordeal.Sound(options...) }

// TestScenarios runs the catalogue on the sound design: every scenario must pass.
func TestScenarios(t *testing.T) {
	for _, scenario := range fitting(t, ordeal.Catalogue(sound)) {
		t.Run(scenario.Name, func(t *testing.T) {
			t.Parallel()
			scenario.Test = t.Name()
			require.NoError(t, harness.Run(t.Context(), scenario).Err())
		})
	}
}

// fitting leaves out the scenarios that need three separate brokers where there are fewer, or another design, and says so.
func fitting(t *testing.T, scenarios []harness.Scenario) []harness.Scenario {
	t.Helper()
	on, err := harness.SharedRunner(t.Context())
	require.NoError(t, err)
	var fit []harness.Scenario
	for _, scenario := range scenarios {
		if scenario.Fits(on.Backend.Capabilities(), on.Brokers) && len(scenario.Lacks()) == 0 {
			fit = append(fit, scenario)
			continue
		}
		t.Logf("left out: %v", on.Validate(scenario))
	}
	return fit
}

// TestGuards removes one guard of the sound design at a time, as the table of planted bugs says: the scenario must name a
// predicted anomaly, and the lack of the guard must have mattered. The whole table is `make mutants`.
func TestGuards(t *testing.T) {
	mutants, err := ordeal.ListMutants()
	require.NoError(t, err)
	for _, mutant := range mutants {
		if mutant.Design != services.Sound || mutant.Without == "" {
			continue
		}
		t.Run(mutant.ID+"-"+mutant.Without, func(t *testing.T) {
			scenario, err := mutant.Planted()
			require.NoError(t, err)
			if len(fitting(t, []harness.Scenario{scenario})) == 0 {
				return
			}
			t.Parallel()
			scenario.Name += "-" + mutant.ID
			scenario.Test = t.Name()
			result := harness.Run(t.Context(), scenario)
			require.Equal(t, check.Fail, result.Verdict, "%v", result.Err())
			assert.True(t, anyOf(result.Anomalies(), mutant.Predicts), "named %v, not one of %v", result.Anomalies(), mutant.Predicts)
			assert.True(t, ordeal.ObserveMutant(mutant, result).Reached, "no service came to where %s would have acted", mutant.Without)
		})
	}
}

func contains(list []string, name string) bool { return anyOf(list, []string{name}) }

func anyOf(list, names []string) bool {
	for _, have := range list {
		for _, want := range names {
			if have == want {
				return true
			}
		}
	}
	return false
}

// TestControl leaves the faults out of every scenario and measures all the same: none may then claim
// to have bitten, and a run whose faults did not bite is unknown.
func TestControl(t *testing.T) {
	shared, err := harness.SharedRunner(t.Context())
	require.NoError(t, err)
	for _, scenario := range fitting(t, ordeal.Catalogue(sound)) {
		if len(scenario.Faults) == 0 {
			continue
		}
		t.Run(scenario.Name, func(t *testing.T) {
			t.Parallel()
			runner := &harness.Runner{Backend: shared.Backend, Brokers: shared.Brokers, Out: t.TempDir(), Seed: 1, Control: true}
			result := runner.Run(t.Context(), scenario)
			require.NoError(t, result.Error)
			shown := result.Report()
			require.Len(t, shown.Faults, len(scenario.Faults.Faults()))
			for _, fault := range shown.Faults {
				assert.False(t, fault.Bit, "%s on %s: %s", fault.Name, fault.Link, fault.Evidence)
			}
			assert.Equal(t, check.Unknown, result.Verdict)
		})
	}
}

// TestThreeBrokers runs, on three brokers, the scenarios that break Kafka or the way to it, and those whose
// services share partitions: every link of a pattern must carry what its fault bites on.
func TestThreeBrokers(t *testing.T) {
	shared, err := harness.SharedRunner(t.Context())
	require.NoError(t, err)
	runner := &harness.Runner{Backend: shared.Backend, Brokers: 3, Out: t.TempDir(), Seed: 1}
	chosen := []string{
		"calm", "redelivery", "late-answer", "broker-outage", "broker-crash", "slow-network", "swallowed-acks", "cut-responses",
		"resets", "paused-at-commit", "reset-at-produce-reply", "killed-with-the-answer", "two-of-each", "two-faults",
	}
	ran := 0
	for _, scenario := range ordeal.Catalogue(sound) {
		if !contains(chosen, scenario.Name) {
			continue
		}
		ran++
		t.Run(scenario.Name, func(t *testing.T) {
			t.Parallel()
			scenario.Test = t.Name()
			result := runner.Run(t.Context(), scenario)
			require.NoError(t, result.Err())
			var servers []string
			for _, probe := range result.View.Probes {
				if probe.Name == history.ProbeBypass && probe.OK {
					servers = append(servers, probe.Subject)
				}
			}
			assert.Subset(t, servers, []string{"kafka-1", "kafka-2", "kafka-3"}, "each was reached, through its links alone")
		})
	}
	require.Equal(t, len(chosen), ran, "of %v", chosen)
}

// TestIdleLink breaks a link that nobody uses: the fault cannot bite, and the run proves nothing.
func TestIdleLink(t *testing.T) {
	t.Parallel()
	result := harness.Run(t.Context(), harness.Scenario{
		Name: "idle-link", System: ordeal.Sound(),
		Faults: harness.Schedule{harness.During(0, 300*time.Millisecond, faults.Down("client->stock"))},
	})
	require.NoError(t, result.Error)
	assert.Equal(t, check.Unknown, result.Verdict)
	assert.Contains(t, strings.Join(result.Judgement.Reasons, "\n"), "down")
}

// detour is a fault that walks round a link: it opens one connection straight to a server.
type detour struct{ node string }

func (detour) Name() string                               { return "detour" }
func (d detour) Target() string                           { return d.node }
func (d detour) Validate(harness.Topology) error          { return nil }
func (d detour) Prepare(e *harness.Env) harness.Injection { return &detouring{detour: d, env: e} }

type detouring struct {
	detour
	env *harness.Env
	bit bool
}

func (d *detouring) Inject(ctx context.Context) error {
	server, ok := d.env.Node(d.node).(interface{ Addr() string })
	if !ok {
		return fmt.Errorf("%s has no address", d.node)
	}
	connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", server.Addr())
	if err != nil {
		return err
	}
	d.bit = true
	return connection.Close()
}

func (d *detouring) Heal(context.Context) error { return nil }
func (d *detouring) Evidence() harness.Evidence {
	return harness.Evidence{Bit: d.bit, Effect: "connected"}
}

// TestBypass makes one connection round its link, to each kind of server: the run is unknown, whatever
// else it showed.
func TestBypass(t *testing.T) {
	for _, node := range []string{"postgres", "kafka-1"} {
		t.Run(node, func(t *testing.T) {
			t.Parallel()
			result := harness.Run(t.Context(), harness.Scenario{
				Name: "bypass-" + node, System: ordeal.Sound(),
				Faults: harness.Schedule{harness.During(0, 100*time.Millisecond, detour{node})},
			})
			require.NoError(t, result.Error)
			assert.Equal(t, check.Unknown, result.Verdict)
			assert.Contains(t, strings.Join(result.Judgement.Reasons, "\n"), "no-bypass")
		})
	}
}

// TestJudgedAgain judges a saved history a second time: the same verdict and the same anomalies.
func TestJudgedAgain(t *testing.T) {
	t.Parallel()
	scenario := harness.Scenario{
		Name: "judged-again", System: ordeal.Sound(ordeal.Without("inbox-dedup")),
		Faults: harness.Schedule{harness.During(time.Second, time.Second, faults.Redeliver("stock", 30))},
	}
	result := harness.Run(t.Context(), scenario)
	require.Equal(t, check.Fail, result.Verdict)
	_, again, err := check.JudgeFile(filepath.Join(result.Dir, "history.jsonl"), nil)
	require.NoError(t, err)
	assert.Equal(t, result.Judgement, again)
}

// TestEveryFaultIsUsed demands that the catalogue covers every kind of fault.
func TestEveryFaultIsUsed(t *testing.T) {
	used := map[string]bool{}
	for _, scenario := range ordeal.Catalogue(sound) {
		for _, fault := range scenario.Faults.Faults() {
			used[fault.Name()] = true
		}
	}
	for _, kind := range faults.Kinds() {
		assert.True(t, used[kind.Name], "no scenario uses %s", kind.Name)
	}
}

// TestNeeds asks every design for every scenario: what it has all that the scenario needs for must be runnable there, so that a scenario
// is left out for what it says that it needs, and for nothing else.
func TestNeeds(t *testing.T) {
	left := map[string][]string{} // scenarios by design
	for _, design := range services.Designs() {
		system, err := ordeal.Design(design.Name, nil)
		require.NoError(t, err)
		for _, scenario := range ordeal.Catalogue(system) {
			if len(scenario.Lacks()) > 0 {
				left[design.Name] = append(left[design.Name], scenario.Name)
				continue
			}
			assert.NoError(t, scenario.Validate(stack.Capabilities{BrokersApart: true}, 3), design.Name)
		}
	}
	of := func(design string, names ...string) {
		assert.Subset(t, left[design], names, design)
	}
	of("tcc-rest", "redelivery", "late-answer", "row-lock", "poison-record", "duplicate-records", "replica-dies", "zombie-replica", "killed-mid-record")
	of("tcc-kafka", "late-answer", "row-lock", "poison-record")
	of("single-writer", "calm", "last-units", "scarce-baskets")
	of("after-commit", "two-of-each", "late-answer")
	for design, some := range map[string][]string{
		"sound":        {"calm", "redelivery", "last-units", "late-answer", "row-lock", "poison-record", "two-of-each"},
		"tcc-rest":     {"calm", "killed-before-commit", "broker-outage", "paused-at-commit", "coordinator-dies", "leader-loss"},
		"tcc-kafka":    {"redelivery", "zombie-replica", "coordinator-moves"},
		"after-commit": {"row-lock", "reset-at-produce-reply", "killed-after-commit"}, "single-writer": {"redelivery", "zombie-replica"},
	} {
		for _, name := range some {
			assert.NotContains(t, left[design], name, design)
		}
	}
}

// TestSameName runs two scenarios of one name: the second would overwrite the first one's history.
func TestSameName(t *testing.T) {
	t.Parallel()
	first := harness.Run(t.Context(), harness.Scenario{Name: "same-name", System: ordeal.Sound()})
	require.NoError(t, first.Err())
	assert.Contains(t, first.Repeat, "go test -run '^TestSameName$'")

	second := harness.Run(t.Context(), harness.Scenario{Name: "same-name", System: ordeal.Sound()})
	require.ErrorIs(t, second.Err(), harness.ErrUsage)
	assert.FileExists(t, first.History)
}
