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
its window open for four seconds more; one that never bit makes the run unknown.

| Kind | Target | What it does | Evidence |
| --- | --- | --- | --- |
`)
	for _, kind := range faults.Kinds() {
		fmt.Fprintf(&page, "| `%s` | %s | %s | %s |\n", kind.Name, kind.Target, kind.About, kind.Evidence)
	}
	page.WriteString(`
At an exact message, any of them: ` + "`harness.At(point, faults…)`" + ` holds the message of one order, injects while it is
held, and then drops it, or forwards it (` + "`.Forward()`" + `). Points, each of a process: ` + "`CommitRequest`, `CommitReply`,\n`ProduceRequest`, `ProduceReply`, `Answer`" + `.

In Go the constructors take what the command line sets for you: ` + "`Latency(link, delay, jitter)`, `Bandwidth(link, KBps)`,\n`CutResponses(link, bytes)`, `SlowClose(link, delay)`, `Redeliver(service, records)`, `Duplicate(topic, records)`,\n`RowLock(database, table, column, key)`" + `; the others take the target alone.

Two steps that stop or restart the same process must not overlap: each would undo the other's work.

On the command line: ` + "`ordeal run calm --fault 'latency:order->postgres'`" + `, with the settings above.
`)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(page.String()), 0o644))
	}
	written, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, page.String(), string(written), "run: go test ./faults -update")
}

func topology() harness.Topology {
	return harness.Topology{
		Links: []string{"order->postgres", "order->kafka-1", "stock->kafka-1"}, Nodes: []string{"order", "stock", "postgres", "kafka-1"},
		Topics: []string{"order-events"}, Databases: map[string]string{"stock": "postgres"},
		Services: map[string]harness.Service{"stock": {Name: "stock", Group: "stock"}},
	}
}

// TestValidate aims every kind at something that is there, and at something that is not.
func TestValidate(t *testing.T) {
	there := map[string]string{"link": "order->postgres", "process": "order", "brokers": "", "database": "stock", "SKU": "sku-001", "service": "stock", "topic": "order-events"}
	for _, kind := range faults.Kinds() {
		t.Run(kind.Name, func(t *testing.T) {
			target, known := there[kind.Target]
			require.True(t, known, "a target of kind %q", kind.Target)
			assert.NoError(t, kind.New(target).Validate(topology()))
			assert.Equal(t, kind.Name, kind.New(target).Name())
			if kind.Target != "SKU" { // what rows there are is not known before the run
				assert.Error(t, kind.New(target).Validate(harness.Topology{}))
			}
		})
	}
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
