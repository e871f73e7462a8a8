package harness_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/check"
	"github.com/ordeal-chaos/ordeal/harness/stack"
)

// elsewhere is a fault that is aimed at nothing.
type elsewhere struct{}

func (elsewhere) Name() string                           { return "elsewhere" }
func (elsewhere) Target() string                         { return "order->postgers" }
func (elsewhere) Validate(t harness.Topology) error      { return t.CheckLink("order->postgers") }
func (elsewhere) Prepare(*harness.Env) harness.Injection { return nil }

// What the two backends can break.
var (
	embedded   = stack.Capabilities{}
	containers = stack.Capabilities{BrokersApart: true}
)

func valid() harness.Scenario {
	return harness.Scenario{Name: "valid", System: harness.System{
		Name:      "shop",
		Databases: []stack.Database{{Name: "orders"}},
		Topics:    []stack.Topic{{Name: "events", Partitions: 1}},
		Services: []harness.Service{{
			Name: "order", Command: []string{"true"}, Database: "orders", Group: "order", Consumes: []string{"events"},
		}},
	}}
}

// TestValidate makes one mistake at a time: each must be named before anything starts.
func TestValidate(t *testing.T) {
	require.NoError(t, valid().Validate(embedded, 1))
	for want, mistake := range map[string]func(*harness.Scenario){
		"no name":               func(s *harness.Scenario) { s.Name = "" },
		"no services":           func(s *harness.Scenario) { s.System.Services = nil },
		"no command":            func(s *harness.Scenario) { s.System.Services[0].Command = nil },
		`database "oders"`:      func(s *harness.Scenario) { s.System.Services[0].Database = "oders" },
		`topic "evnts"`:         func(s *harness.Scenario) { s.System.Services[0].Consumes = []string{"evnts"} },
		"no consumer group":     func(s *harness.Scenario) { s.System.Services[0].Group = "" },
		`calls "stok"`:          func(s *harness.Scenario) { s.System.Services[0].Calls = []string{"stok"} },
		`counted in database`:   func(s *harness.Scenario) { s.System.Open = []harness.Open{{What: "work", Database: "x"}} },
		"stock is set in":       func(s *harness.Scenario) { s.System.Restock = harness.Statement{Database: "x", SQL: "SELECT 1"} },
		`guarantee "order-end"`: func(s *harness.Scenario) { s.Guarantees = check.Only("order-end") },
		"does not judge":        func(s *harness.Scenario) { s.Exercises = []string{"nothing-such"} },
		"as many SKUs":          func(s *harness.Scenario) { s.Workload.Lines = 99 },
		"order->postgres":       func(s *harness.Scenario) { s.Faults = harness.Schedule{harness.During(0, 0, elsewhere{})} },
		"there can be three":    func(s *harness.Scenario) { s.Brokers = 2 },
		"a step has no faults":  func(s *harness.Scenario) { s.Faults = harness.Schedule{harness.During(0, 0)} },
		"no link": func(s *harness.Scenario) {
			s.Faults = harness.Schedule{harness.At(harness.CommitReply("stok"), elsewhere{})}
		},
		`Produce request of order to evnts: no topic "evnts"`: func(s *harness.Scenario) {
			s.Faults = harness.Schedule{harness.At(harness.ProduceRequestTo("order", "evnts"), elsewhere{})}
		},
	} {
		t.Run(want, func(t *testing.T) {
			s := valid()
			mistake(&s)
			err := s.Validate(embedded, 1)
			require.ErrorIs(t, err, harness.ErrUsage)
			assert.ErrorContains(t, err, want)
		})
	}
}

// aimed is a fault whose Validate is a function.
type aimed struct {
	elsewhere
	validate func(harness.Topology) error
}

func (f aimed) Validate(t harness.Topology) error { return f.validate(t) }

// TestBrokersDecideWhatCanBeHit, before anything starts: on a backend where all brokers share one process,
// no fault can hit one of several.
func TestBrokersDecideWhatCanBeHit(t *testing.T) {
	const three = "needs three separate brokers: run it with --backend containers --brokers 3"
	const alone = "kafka-2 cannot be hit alone: on this backend all 3 brokers share one process; run it with --backend containers"
	kill := func(node string) func(harness.Topology) error {
		return func(t harness.Topology) error { return t.CheckNode(node) }
	}
	broker := func(t harness.Topology) error { return t.CheckBroker("kafka-2") }
	whole := func(t harness.Topology) error { return t.CheckKafka() }
	for name, test := range map[string]struct {
		fault   func(harness.Topology) error
		on      stack.Capabilities
		brokers int
		want    string // in the error; empty: none
	}{
		"the only broker":                    {kill("kafka-1"), embedded, 1, ""},
		"the only broker, by default":        {kill("kafka-1"), embedded, 0, ""},
		"the only broker, apart":             {kill("kafka-1"), containers, 1, ""},
		"one of three in one process":        {kill("kafka-2"), embedded, 3, alone},
		"one of three apart":                 {kill("kafka-2"), containers, 3, ""},
		"a fourth":                           {kill("kafka-4"), containers, 3, `no process "kafka-4" here; nearest: kafka-1, kafka-2, kafka-3`},
		"a broker that is not there":         {broker, containers, 1, `no broker "kafka-2" here; brokers: kafka-1`},
		"a broker by name":                   {broker, containers, 3, ""},
		"a broker by name in one process":    {broker, embedded, 3, alone},
		"all brokers in one process":         {whole, embedded, 3, ""},
		"a majority in one process":          {harness.Topology.CheckApart, embedded, 3, three},
		"a majority of one":                  {harness.Topology.CheckApart, containers, 1, three},
		"a majority":                         {harness.Topology.CheckApart, containers, 3, ""},
		"another process, with three":        {kill("order"), embedded, 3, ""},
		"a link to the third":                {func(t harness.Topology) error { return t.CheckLink("order->kafka-3") }, embedded, 3, ""},
		"a link to the third, with only one": {func(t harness.Topology) error { return t.CheckLink("order->kafka-3") }, embedded, 1, "nearest: order->kafka-1"},
	} {
		t.Run(name, func(t *testing.T) {
			s := valid()
			s.Faults = harness.Schedule{harness.During(0, 0, aimed{validate: test.fault})}
			err := s.Validate(test.on, test.brokers)
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, harness.ErrUsage)
			assert.ErrorContains(t, err, test.want)
		})
	}
	s := valid()
	s.System.Topics, s.System.Services[0].Consumes = nil, nil
	s.Faults = harness.Schedule{harness.During(0, 0, aimed{validate: whole})}
	assert.ErrorContains(t, s.Validate(containers, 3), "the system has no topics")
}

func TestPartitionsAreNamedByTopicAndNumber(t *testing.T) {
	topology := harness.Topology{Topics: []string{"order-events"}, Partitions: map[string]int32{"order-events": 6}}
	for _, name := range []string{"order-events/0", "order-events/5"} {
		assert.NoError(t, topology.CheckPartition(name))
	}
	for name, want := range map[string]string{
		"order-events/6":  `no partition "order-events/6" here: order-events has order-events/0 to order-events/5`,
		"order-events/-1": "no partition", "order-events/x": "no partition", "order-events/": "no partition", "order-events": "no partition",
		"order-event/0": "nearest: order-events",
	} {
		assert.ErrorContains(t, topology.CheckPartition(name), want)
	}
}

// TestScenarioForThreeBrokers fits nothing less.
func TestScenarioForThreeBrokers(t *testing.T) {
	s := valid()
	s.Brokers = 3
	for _, test := range []struct {
		on      stack.Capabilities
		brokers int
		fits    bool
	}{{embedded, 0, false}, {embedded, 3, false}, {containers, 1, false}, {containers, 3, true}} {
		assert.Equal(t, test.fits, s.Fits(test.on, test.brokers), "%+v", test)
		err := s.Validate(test.on, test.brokers)
		if test.fits {
			assert.NoError(t, err)
			continue
		}
		require.ErrorIs(t, err, harness.ErrUsage)
		assert.EqualError(t, err, `usage: scenario "valid" needs three separate brokers: run it with --backend containers --brokers 3 (in go test: ORDEAL_BACKEND=containers ORDEAL_BROKERS=3)`)
	}
	assert.True(t, valid().Fits(embedded, 1))

	// The runner knows its backend and brokers, and starts nothing else.
	runner := harness.Runner{Out: t.TempDir(), Brokers: 3}
	require.ErrorIs(t, runner.Run(t.Context(), s).Err(), harness.ErrUsage)
	runner.Brokers = 2
	assert.ErrorContains(t, runner.Validate(valid()), "2 brokers: there can be one or three")
	runner.Brokers = -1
	assert.ErrorIs(t, runner.Validate(valid()), harness.ErrUsage)
}

// TestOnly judges by two guarantees, and needs no more than those.
func TestOnly(t *testing.T) {
	s := valid()
	s.Guarantees = check.Only("orders-end", "dead-letters-complete")
	require.NoError(t, s.Validate(embedded, 1))
}

// TestInvalidScenarioStartsNothing gives the runner no backend to start anything on.
func TestInvalidScenarioStartsNothing(t *testing.T) {
	runner := harness.Runner{Out: t.TempDir()}
	result := runner.Run(context.Background(), harness.Scenario{Name: "empty"})
	require.ErrorIs(t, result.Err(), harness.ErrUsage)
	assert.Equal(t, check.Unknown, result.Verdict)
	assert.NoDirExists(t, result.Dir)
}

func TestNearest(t *testing.T) {
	assert.Equal(t, []string{"latency", "stall"}, harness.Nearest("latancy", []string{"stall", "kill", "latency"}, 2))
}
