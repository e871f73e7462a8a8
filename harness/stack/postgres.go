package stack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// Postgres is one server with its own data directory. It is a [Node]: Kill, Pause and Resume reach the
// postmaster and all of its backends.
type Postgres struct {
	Node
	peerList
	addr string
}

// Addr is the server's own address, which only observers and links may use.
func (pg *Postgres) Addr() string { return pg.addr }

// DSN is the URL of a direct connection to the database as superuser.
func (pg *Postgres) DSN(database string) string {
	return postgresURL(pg.addr, database)
}

// PublishedDSN is DSN at the address for people: where the server is a container, its port on this machine.
func (pg *Postgres) PublishedDSN(database string) string {
	return postgresURL(published(pg.Node, pg.addr), database)
}

func postgresURL(addr, database string) string {
	dsn := url.URL{
		Scheme: "postgres", User: url.User(Superuser), Host: addr, Path: "/" + database, RawQuery: "sslmode=disable",
	}
	return dsn.String()
}

var connectionReceived = regexp.MustCompile(`connection received: host=\S+ port=(\d+)`)

// quitPostgres ends the server at once, in the way that frees its shared memory, for a data directory that is
// not needed any more.
func quitPostgres(ctx context.Context, pg *Process) error {
	r := pg.alive()
	if r == nil {
		return nil
	}
	paused := pg.wanted(r)
	_ = syscall.Kill(r.proc.pid, syscall.SIGQUIT) // an error means that it is gone
	if paused {
		_ = continueTree(r.proc.pid) // Kill follows if it did not help
	}
	quick, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if pg.end(quick, r) == nil {
		return nil
	}
	return pg.Kill(ctx)
}

// postgresConfig is the whole postgresql.conf. fsync=off is honest for process crashes, which lose
// nothing that was written, and not for power loss.
const postgresConfig = `
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 60
shared_buffers = 16MB
# Files in the data directory instead of /dev/shm, which a killed server leaks.
dynamic_shared_memory_type = mmap
huge_pages = off

wal_level = logical
max_wal_senders = 10
max_replication_slots = 10
max_logical_replication_workers = 0
synchronous_commit = on
fsync = off
full_page_writes = off
# Rare checkpoints, and a write-ahead log that stays small enough to recover in tens of milliseconds.
checkpoint_timeout = 15min
max_wal_size = 64MB
min_wal_size = 2MB
wal_recycle = off
wal_init_zero = off

# Experiments last seconds. Vacuum would only add noise.
autovacuum = off
jit = off
timezone = 'UTC'
lc_messages = 'C'

log_destination = stderr
logging_collector = off
log_timezone = 'UTC'
log_line_prefix = '%m [%p] '
# The proof that no client walked round its link.
log_connections = on
log_checkpoints = off
`

// newPostgres describes a server on a data directory that has a database postgres. It is not started.
func (b *embedded) newPostgres(name, data, log string, record recorder, dial dialFunc) (*Process, *Port, error) {
	port, err := ReservePort()
	if err != nil {
		return nil, nil, err
	}
	config, err := pgconn.ParseConfig(postgresURL(port.Addr(), Superuser))
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("parse own connection URL: %w", err), port.Close())
	}
	config.DialFunc = pgconn.DialFunc(dial)
	spec := Spec{
		Name:    name,
		Command: []string{filepath.Join(b.binaries.Bin, "postgres"), "-D", data, "-p", strconv.Itoa(port.Number())},
		Ports:   []*Port{port},
		Ready:   func(ctx context.Context) error { return answersQueries(ctx, config) },
		Grace:   10 * time.Second,
	}
	return &Process{
		task: task{
			Spec: spec, events: []string{name}, account: b.account, stop: syscall.SIGINT, data: data, end: quitPostgres,
			exited: func() {
				ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
				defer cancel()
				// A segment that cannot be removed now is tried again by the next start and by Postgres itself.
				_ = sweepSharedMemory(ctx, data)
			},
		},
		log: log, reaper: b.reaper, record: record,
	}, port, nil
}

type (
	recorder = func(event history.Process, asked bool)
	dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)
)

func answersQueries(ctx context.Context, config *pgconn.Config) error {
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "SELECT 1").ReadAll()
	return errors.Join(err, conn.Close(ctx))
}
