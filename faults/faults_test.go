package faults_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/faults"
	"github.com/ordeal-chaos/ordeal/harness"
)

var update = flag.Bool("update", false, "write docs/faults.md anew")

// TestDocs keeps docs/faults.md equal to what the code says.
func TestDocs(t *testing.T) {
	const path = "../docs/faults.md"
	var page strings.Builder
	page.WriteString(`# Faults and their evidence

A fault counts only with an effect that was measured inside its window, on its target, and that is absent
from a run without it (` + "`TestControl`" + ` runs the whole catalogue that way). A fault that did not bite keeps
its window open for four seconds more (or as long as its step is ` + "`Patient`" + `); one that never bit makes the run unknown.

| Kind | Target | What it does | Evidence |
| --- | --- | --- | --- |
`)
	for _, kind := range faults.Kinds() {
		fmt.Fprintf(&page, "| `%s` | %s | %s | %s |\n", kind.Name, kind.Target, kind.About, kind.Evidence)
	}
	page.WriteString(`
At an exact message, any of them: ` + "`harness.At(point, faults…)`" + ` holds the message of one order, injects while it is
held, and then drops it, or forwards it (` + "`.Forward()`" + `). Points, each of a process: ` + "`CommitRequest`, `CommitReply`,\n`ProduceRequest`, `ProduceReply`, `Answer`, `Confirmation` (of a reservation),\n`CallRequest` and `CallReply` (of a call of another service); and `ProduceRequestTo`, of a topic and no order.\nA message may also go on when the faults end (`.ForwardLate()`), or some time after (`.ForwardAfter(d)`)" + `.

In Go the constructors take what the command line sets for you: ` + "`Latency(link, delay, jitter)`, `Bandwidth(link, KBps)`,\n`CutResponses(link, bytes)`, `SlowClose(link, delay)`, `Redeliver(service, records)`, `Duplicate(topic, records)`,\n`DuplicateElsewhere(topic, records, database)`, `RowLock(database, table, column, key)`,\n`TableLock(database, table)`" + `; the others take the target alone.

Two steps that stop or restart the same process must not overlap: each would undo the other's work.

` + list(needThree) + ` need three separate brokers, and are refused before anything starts
where there are not: run them with ` + "`--backend containers --brokers 3`" + `. There ` + "`kill`, `terminate` and `pause`" + ` can hit one broker too.

On the command line: ` + "`ordeal run calm --fault 'latency:order->postgres'`" + `, with the settings above.
`)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(page.String()), 0o644))
	}
	written, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, page.String(), string(written), "run: go test ./faults -update")
}

// list is the names in code quotes, as in a sentence.
func list(names []string) string {
	quoted := "`" + strings.Join(names[:len(names)-1], "`, `") + "`"
	return quoted + " and `" + names[len(names)-1] + "`"
}

// topology has three brokers, each a machine of its own.
func topology() harness.Topology {
	return harness.Topology{
		Links:  []string{"order->postgres", "order->kafka-1", "stock->kafka-1"},
		Nodes:  []string{"order", "stock", "postgres", "kafka-1", "kafka-2", "kafka-3"},
		Topics: []string{"order-events"}, Partitions: map[string]int32{"order-events": 6},
		Brokers: []string{"kafka-1", "kafka-2", "kafka-3"}, BrokersApart: true,
		Databases: map[string]string{"stock": "postgres"},
		Services:  map[string]harness.Service{"stock": {Name: "stock", Group: "stock"}},
	}
}

// there is a target of each sort in topology.
var there = map[string]string{
	"link": "order->postgres", "process": "order", "brokers": "", "database": "stock", "SKU": "sku-001", "service": "stock",
	"topic": "order-events", "partition": "order-events/5", "broker": "kafka-2",
}

// TestValidate aims every kind at something that is there, and at something that is not.
func TestValidate(t *testing.T) {
	for _, kind := range faults.Kinds() {
		t.Run(kind.Name, func(t *testing.T) {
			target, known := there[kind.Target]
			require.True(t, known, "a target of kind %q", kind.Target)
			assert.NoError(t, kind.New(target).Validate(topology()))
			assert.Equal(t, kind.Name, kind.New(target).Name())
			if kind.Target != "SKU" { // what rows there are is not known before the run
				assert.Error(t, kind.New(target).Validate(harness.Topology{}))
			}
			if kind.Target != "SKU" && kind.Target != "brokers" {
				assert.Error(t, kind.New("nonsense").Validate(topology()))
			}
		})
	}
}

// needThree are the kinds of which another broker must take over.
var needThree = []string{
	"controller-kill", "coordinator-kill", "elect", "isolate", "leader-kill", "leader-pause", "leader-restart",
	"majority-kill", "min-isr", "rolling-restart", "unclean-restart",
}

// TestNeedThree aims every kind at one broker, and at three that share a process: those which need three separate
// ones say so and how to get them, and the others do not care.
func TestNeedThree(t *testing.T) {
	one, together := topology(), topology()
	one.Brokers, one.Nodes = one.Brokers[:1], one.Nodes[:4]
	together.BrokersApart = false
	var need []string
	for _, kind := range faults.Kinds() {
		fault := kind.New(there[kind.Target])
		errOne, errTogether := fault.Validate(one), fault.Validate(together)
		assert.Equal(t, errOne == nil, errTogether == nil, kind.Name)
		if errOne != nil {
			need = append(need, kind.Name)
			assert.EqualError(t, errOne, "needs three separate brokers: run it with --backend containers --brokers 3 (in go test: ORDEAL_BACKEND=containers ORDEAL_BROKERS=3)", kind.Name)
			assert.EqualError(t, errTogether, errOne.Error(), kind.Name)
		}
	}
	assert.Equal(t, needThree, need)
}

// TestOneBroker aims the faults on a process at one of several brokers.
func TestOneBroker(t *testing.T) {
	together := topology()
	together.BrokersApart = false
	for _, name := range []string{"kill", "terminate", "pause"} {
		fault, err := faults.Parse(name + ":kafka-2")
		require.NoError(t, err)
		assert.NoError(t, fault.Validate(topology()))
		err = fault.Validate(together)
		require.Error(t, err, name)
		assert.Contains(t, err.Error(), "kafka-2 cannot be hit alone")
		assert.Contains(t, err.Error(), "--backend containers")
	}
}

// TestIsolate names a broker by what it leads.
func TestIsolate(t *testing.T) {
	fault, err := faults.Parse("isolate:leader:order-events/0")
	require.NoError(t, err)
	assert.Equal(t, "leader:order-events/0", fault.Target())
	assert.NoError(t, fault.Validate(topology()))
	assert.ErrorContains(t, faults.Isolate("leader:order-events/6").Validate(topology()), "order-events/0 to order-events/5")
	assert.ErrorContains(t, faults.Isolate("postgres").Validate(topology()), "no broker")
}

func TestParse(t *testing.T) {
	fault, err := faults.Parse("latency:order->postgres")
	require.NoError(t, err)
	assert.Equal(t, "order->postgres", fault.Target())

	_, err = faults.Parse("latancy:order->postgres")
	require.ErrorIs(t, err, harness.ErrUsage)
	assert.ErrorContains(t, err, "latency")

	_, err = faults.Parse("latency")
	require.ErrorIs(t, err, harness.ErrUsage)
	assert.ErrorContains(t, err, "latency:<link>")

	_, err = faults.Parse("broker-crash")
	assert.NoError(t, err)
}
