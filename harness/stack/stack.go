// Package stack owns what an experiment runs on: child processes and their supervision, Postgres, the
// Kafka broker, their ports and logs, and the certainty that nothing of it survives the harness.
package stack

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"time"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// Backend makes environments: embedded ([NewEmbedded]) or containers. It is safe for concurrent use.
type Backend interface {
	// Name is "embedded" or "containers".
	Name() string
	// Versions says what runs, for the history's header: "postgres": "17.5", "broker": "kfake …".
	Versions() map[string]string
	// Capabilities says what the backend can break.
	Capabilities() Capabilities
	// New starts a fresh, empty environment and returns when all of it is ready. On an error nothing
	// of it is left.
	New(ctx context.Context, options Options) (*Environment, error)
	// Close stops every environment that is still open and removes all files outside the run folders.
	Close() error
}

// Capabilities are what one backend can do and another cannot.
type Capabilities struct {
	// BrokersApart says that every broker is a machine of its own, which can die, pause, or be cut from
	// the others alone. Else all brokers are one process.
	BrokersApart bool
}

// ErrNotApart says that one broker alone cannot be hit on this backend.
var ErrNotApart = errors.New("all brokers are one process on this backend; use --backend containers")

// ErrOutlived says that a process which was asked to stop did not in time.
var ErrOutlived = errors.New("still running after its grace period")

// Node is one process or container of the stack that a fault can hit. Its calls are safe for concurrent use.
type Node interface {
	// Name is the process's name in the history: "order", "stock-2", "postgres", "kafka-1".
	Name() string
	// PID is the process that runs now or ran last; 0 when none was ever started.
	PID() int
	// Alive says whether the process runs (a paused one does).
	Alive() bool
	// Kill sends SIGKILL to the process and all its descendants and returns when they are gone. A
	// process that does not run is no error.
	Kill(ctx context.Context) error
	// Terminate asks the process to stop and returns when it has exited. One that outlives its grace
	// period is killed, and the error wraps [ErrOutlived].
	Terminate(ctx context.Context) error
	// Pause stops the process and all its descendants with SIGSTOP and returns when they have stopped.
	Pause(ctx context.Context) error
	// Resume undoes Pause.
	Resume(ctx context.Context) error
	// Start runs the process again, with the same command and ports, and returns when it is ready.
	Start(ctx context.Context) error
	// LogPath is the path of the process's log, in the run folder.
	LogPath() string
	// LastLog returns at most the last n lines of the process's log, over all its starts.
	LastLog(n int) []string
}

// Options are what one environment consists of. The zero value, plus Dir, is one Postgres server
// without a database of its own and one broker without topics.
type Options struct {
	// Dir is the run folder. Logs go to its folder logs and are kept.
	Dir       string
	Databases []Database
	// SeparatePostgres gives every database a server of its own, so that one can crash alone.
	SeparatePostgres bool
	Brokers          int // 0 means 1
	Topics           []Topic
	Caches           []string // names of Redis servers
	// Direct makes brokers advertise their real addresses, for measuring clients without links. A run
	// that must prove that nobody walked round a link leaves it off.
	Direct bool
	// Record receives every change in the life of a process, from several goroutines. Nil drops them.
	Record func(history.Process)
}

// Database is created empty, then Schema (SQL, any number of statements) is applied to it.
type Database struct {
	Name   string
	Schema string
}

// Topic is created before any client connects.
type Topic struct {
	Name       string
	Partitions int32
}

// servers lists the databases of each Postgres server by the server's name.
func (o Options) servers() map[string][]Database {
	servers := map[string][]Database{}
	for _, database := range o.Databases {
		name := "postgres"
		if o.SeparatePostgres {
			name += "-" + database.Name
		}
		servers[name] = append(servers[name], database)
	}
	return servers
}

// Superuser owns the databases of every environment. It needs no password.
const Superuser = "postgres"

// Publication is the publication of all tables that every database of an environment has.
const Publication = "ordeal"

var notInSlotNames = regexp.MustCompile(`[^a-z0-9_]`)

// SlotName is the name of the persistent pgoutput replication slot that the database has from birth.
func SlotName(database string) string {
	return "ordeal_" + notInSlotNames.ReplaceAllString(strings.ToLower(database), "_")
}

// Bounds of work that runs after the caller's context ended, or must not depend on it.
const (
	closeTimeout = 15 * time.Second
	probeTimeout = 2 * time.Second
)
