// Package faults owns the faults that a scenario can inject, one file each.
//
// A fault is a value that implements [harness.Fault]: it names its target, breaks it, heals it, and
// measures whether it bit. docs/faults.md lists the evidence of each.
package faults

import (
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/ordeal-chaos/ordeal/harness"
)

// onLinks is the part that all faults on links share: a pattern of link names.
type onLinks struct {
	pattern string
}

func (f onLinks) Target() string { return f.pattern }

func (f onLinks) Validate(t harness.Topology) error { return t.CheckLink(f.pattern) }

// onNode is the part that all faults on one process share.
type onNode struct {
	node string
}

func (f onNode) Target() string { return f.node }

func (f onNode) Validate(t harness.Topology) error { return t.CheckNode(f.node) }

// Kind is one kind of fault, as it can be asked for by name.
type Kind struct {
	Name string
	// About says what it breaks, and Evidence which effect proves that it did.
	About, Evidence string
	// Target says what it is aimed at: "link", "process", "topic", "service", "database".
	Target string
	// New makes the fault with its usual settings.
	New func(target string) harness.Fault
}

// Kinds lists every kind of fault, by name.
func Kinds() []Kind {
	kinds := []Kind{
		{"down", "refuses connections and resets those that are open", "connections reset at the tap, and not a byte delivered while down", "link", Down},
		{"latency", "delays each direction by 40 ms ± 20 ms", "the fastest round trip that began in the window took the delay", "link", func(t string) harness.Fault { return Latency(t, 40*time.Millisecond, 20*time.Millisecond) }},
		{"bandwidth", "carries 2 KB/s a connection in each direction", "bytes waited behind the limit, and no more than the limit was delivered", "link", func(t string) harness.Fault { return Bandwidth(t, 2) }},
		{"stall", "carries nothing in either direction, loses nothing", "bytes offered and not delivered for most of the window", "link", Stall},
		{"stall-requests", "carries no requests, loses nothing", "bytes offered and not delivered, requests only", "link", StallRequests},
		{"stall-responses", "carries no responses, loses nothing", "bytes offered and not delivered, responses only", "link", StallResponses},
		{"reset", "resets the connections that are open, once", "connections on which the tap sent RST", "link", Reset},
		{"cut-responses", "ends each connection after 600 bytes of responses", "connections cut by the limit", "link", func(t string) harness.Fault { return CutResponses(t, 600) }},
		{"slow-close", "closes connections half a second late", "closes that waited for the delay", "link", func(t string) harness.Fault { return SlowClose(t, 500*time.Millisecond) }},
		{"kill", "kills a process (SIGKILL), and starts it again on heal", "exit by SIGKILL, with operations in flight", "process", Kill},
		{"terminate", "ends a process (SIGTERM), and starts it again on heal", "exit after SIGTERM, with operations in flight", "process", Terminate},
		{"pause", "stops a process (SIGSTOP), and continues it on heal", "its links carried nothing that it sends, though it was asked or busy before", "process", Pause},
		{"broker-outage", "stops all brokers until heal", "exits, and every broker link unable to reach its broker", "brokers", func(string) harness.Fault { return BrokerOutage() }},
		{"broker-crash", "kills all brokers (SIGKILL) and starts them at once", "exits by SIGKILL, connections to brokers cut", "brokers", func(string) harness.Fault { return BrokerCrash() }},
		{"postgres-crash", "kills a Postgres server with all its backends, and lets it recover on heal", "exit by SIGKILL, connections to it cut", "process", PostgresCrash},
		{"terminate-backends", "terminates the service's backends, once", "SQLSTATE 57P01 at the tap", "database", TerminateBackends},
		{"row-lock", "holds the lock of a SKU's stock row", "backends that pg_blocking_pids names as waiting for it", "SKU", func(sku string) harness.Fault { return RowLock("stock", "stock", "product_id", sku) }},
		{"redeliver", "rewinds a service's consumer group over records it has handled", "the same offset delivered twice to the group", "service", func(s string) harness.Fault { return Redeliver(s, 20) }},
		{"duplicate", "appends copies of a topic's last records", "the copies' offsets delivered to a consumer", "topic", func(t string) harness.Fault { return Duplicate(t, 10) }},
		{"poison", "appends a record that cannot be decoded", "the record's offset delivered to a consumer", "topic", Poison},
	}
	sort.Slice(kinds, func(i, j int) bool { return kinds[i].Name < kinds[j].Name })
	return kinds
}

// Parse makes a fault from "name:target", as "latency:order->postgres", with its usual settings. The
// error of an unknown name lists the nearest, and wraps [harness.ErrUsage].
func Parse(text string) (harness.Fault, error) {
	name, target, _ := strings.Cut(text, ":")
	var names []string
	for _, kind := range Kinds() {
		if kind.Name == name {
			if target == "" && kind.Target != "brokers" {
				return nil, fmt.Errorf("%w: fault %q needs a target: %s:<%s>", harness.ErrUsage, name, name, kind.Target)
			}
			return kind.New(target), nil
		}
		names = append(names, kind.Name)
	}
	return nil, fmt.Errorf("%w: no fault %q; nearest: %s", harness.ErrUsage, name, strings.Join(harness.Nearest(name, names, 3), ", "))
}
