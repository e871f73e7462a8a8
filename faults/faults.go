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
	// Target says what it is aimed at: "link", "process", "topic", "partition", "service", "database". Those on
	// "brokers" need no name.
	Target string
	// New makes the fault with its usual settings.
	New func(target string) harness.Fault
}

// Kinds lists every kind of fault, by name.
func Kinds() []Kind {
	kinds := []Kind{
		{"down", "refuses connections and resets those that are open", "connections reset at the tap, and then not a byte delivered", "link", Down},
		{"latency", "delays each direction by 40 ms ± 20 ms", "at least 3 round trips began and ended in the window, and the fastest took twice the least delay", "link", func(t string) harness.Fault { return Latency(t, 40*time.Millisecond, 20*time.Millisecond) }},
		{"bandwidth", "carries 2 KB/s a connection in each direction", "bytes spent 100 ms or more in the limiter, and each direction delivered no more than 1.5 times the limit", "link", func(t string) harness.Fault { return Bandwidth(t, 2) }},
		{"stall", "carries nothing in either direction, loses nothing", "bytes offered, none delivered, and the first waited for a third of the window or more", "link", Stall},
		{"stall-requests", "carries no requests, loses nothing", "the same, of requests", "link", StallRequests},
		{"stall-responses", "carries no responses, loses nothing", "the same, of responses", "link", StallResponses},
		{"reset", "resets the connections that are open, once", "connections reset at the tap", "link", Reset},
		{"cut-responses", "ends each connection after 600 bytes of responses", "connections that the limit ended", "link", func(t string) harness.Fault { return CutResponses(t, 600) }},
		{"slow-close", "closes connections half a second late", "a close passed on after 0.9 of the delay or more", "link", func(t string) harness.Fault { return SlowClose(t, 500*time.Millisecond) }},
		{"kill", "kills a process (SIGKILL), and starts it again on heal", "exit by SIGKILL; a connection of its links that ended, or that could not reach it; client operations in flight from the kill on", "process", Kill},
		{"terminate", "ends a process (SIGTERM), and starts it again on heal", "exit on request; a connection of its links that ended, or that could not reach it; client operations in flight from the signal on", "process", Terminate},
		{"pause", "stops a process (SIGSTOP), and continues it on heal", "its links carried not one message from it for 200 ms or more, with client operations in flight, and with messages asking it or some that it sent earlier in the run", "process", Pause},
		{"broker-outage", "stops all brokers until heal", "of every broker: exit on request; a connection of its links that ended, or that could not reach it; client operations in flight from then on", "brokers", func(string) harness.Fault { return BrokerOutage() }},
		{"broker-crash", "kills all brokers (SIGKILL) and starts them at once", "of every broker: as of a kill", "brokers", func(string) harness.Fault { return BrokerCrash() }},
		{"broker-pause", "stops all brokers (SIGSTOP), and continues them on heal", "of every broker: as of a pause", "brokers", func(string) harness.Fault { return BrokerPause() }},
		{"postgres-crash", "kills a Postgres server with all its backends, and lets it recover on heal", "as of a kill", "process", PostgresCrash},
		{"terminate-backends", "terminates the service's backends, once", "connections to its server told SQLSTATE 57P01, at the tap", "database", TerminateBackends},
		{"drop-slot", "drops the replication slots that a database's services read, once, as a failover to a server without them does", "slots dropped, and client operations in flight from then on", "database", DropSlot},
		{"row-lock", "holds the lock of a SKU's stock row", "backends that pg_blocking_pids names as waiting for the lock's holder", "SKU", func(sku string) harness.Fault { return RowLock("stock", "stock", "product_id", sku) }},
		{"table-lock", "locks the outbox of a database against writing, as a migration does", "as of a row-lock", "database", func(d string) harness.Fault { return TableLock(d, "outbox") }},
		{"redeliver", "rewinds a service's consumer group over records it has handled", "offsets went back, and records delivered to its replicas before were delivered again", "service", func(s string) harness.Fault { return Redeliver(s, 20) }},
		{"duplicate", "appends copies of a topic's last records", "an appended copy delivered to a consumer, by its offset", "topic", func(t string) harness.Fault { return Duplicate(t, 10) }},
		{"duplicate-elsewhere", "appends copies of the last records of each partition of a topic to other partitions, where they are read at once", "as of a duplicate", "topic", func(t string) harness.Fault { return DuplicateElsewhere(t, 4, "stock") }},
		{"expire-offsets", "stops the members of a service's consumer group and deletes its committed offsets, and starts them on heal", "of every member: as of a terminate; offsets that were there are gone", "service", ExpireOffsets},
		{"leader-kill", "kills the leader of a partition (SIGKILL), and starts it again on heal", "as of a kill; then another broker leads the partition", "partition", LeaderKill},
		{"leader-pause", "stops the leader of a partition (SIGSTOP), and continues it on heal", "as of a pause; then another broker leads the partition", "partition", LeaderPause},
		{"leader-restart", "ends the leader of a partition (SIGTERM), and starts it again on heal", "as of a terminate; then another broker leads the partition", "partition", LeaderRestart},
		{"unclean-restart", "kills the leader of a partition (SIGKILL) and starts it at once", "as of a kill, and ready again", "partition", UncleanRestart},
		{"controller-kill", "kills the broker that leads the controllers' quorum, and starts it again on heal", "as of a kill; then another broker is the controller", "brokers", func(string) harness.Fault { return ControllerKill() }},
		{"coordinator-kill", "kills the broker that coordinates a service's consumer group, and starts it again on heal", "as of a kill; then another broker coordinates the group", "service", CoordinatorKill},
		{"majority-kill", "kills the controller and another of three brokers, and starts them again on heal", "as of a kill, of both; no broker names a controller; Produce requests at the taps, none of them acknowledged", "brokers", func(string) harness.Fault { return MajorityKill() }},
		{"isolate", "cuts a broker, kafka-2 or leader:order-events/0, from the other brokers but not from clients", "more answers of it at the taps than connections, all after the cut; another broker leads what it led", "broker", Isolate},
		{"elect", "moves the lead of a topic's partitions to other brokers by preferred election, once", "other brokers lead the partitions; client operations in flight from then on", "topic", Elect},
		{"min-isr", "makes a topic demand all replicas in sync and kills the last broker; undoes both on heal", "as of a kill; Produce refused with NOT_ENOUGH_REPLICAS (or _AFTER_APPEND) at a tap", "topic", MinISR},
		{"rolling-restart", "restarts the brokers in good order, one after the other, each when all replicas are in sync", "of every broker: as of a terminate; all replicas in sync after each", "brokers", func(string) harness.Fault { return RollingRestart() }},
		{"late-end", "delays the end of a Kafka transaction until the producer's next one has appended a record", "the EndTxn went on to the broker after a record of the same transactional id's next transaction had been acknowledged", "link", LateEnd},
		{"poison", "appends a record that cannot be decoded", "the record delivered to a consumer, by its offset", "topic", Poison},
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
