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
	require.NoError(t, valid().Validate())
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
		"a step has no faults":  func(s *harness.Scenario) { s.Faults = harness.Schedule{harness.During(0, 0)} },
		"no link": func(s *harness.Scenario) {
			s.Faults = harness.Schedule{harness.At(harness.CommitReply("stok"), elsewhere{})}
		},
	} {
		t.Run(want, func(t *testing.T) {
			s := valid()
			mistake(&s)
			err := s.Validate()
			require.ErrorIs(t, err, harness.ErrUsage)
			assert.ErrorContains(t, err, want)
		})
	}
}

// TestOnly judges by two guarantees, and needs no more than those.
func TestOnly(t *testing.T) {
	s := valid()
	s.Guarantees = check.Only("orders-end", "dead-letters-complete")
	require.NoError(t, s.Validate())
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
