package observe

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/stack"
)

// patience is the deadline of what must happen, on a machine that has twenty other things to do as well.
const patience = time.Minute

func TestMain(m *testing.M) {
	stack.Dispatch() // this binary is also the program that downloads Postgres
	goleak.VerifyTestMain(m)
}

// postgres is a cluster of its own for one test.
type postgres struct {
	bin, dir string
	port     int
	server   *exec.Cmd
}

// nobody is the user that the servers run as when the tests run as root: Postgres refuses to be root.
const nobody = 65534

func startPostgres(t testing.TB) *postgres {
	t.Helper()
	bin, err := postgresBinaries()
	require.NoError(t, err)
	p := &postgres{bin: bin, dir: filepath.Join(t.TempDir(), "data"), port: reservePort(t)}
	require.NoError(t, os.Mkdir(p.dir, 0o700))
	if os.Getuid() == 0 {
		require.NoError(t, os.Chown(p.dir, nobody, nobody))
		for dir := filepath.Dir(p.dir); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
			require.NoError(t, os.Chmod(dir, 0o755))
		}
	}
	out, err := p.command("initdb", "-D", p.dir, "-U", "postgres", "-A", "trust", "--no-sync", "--wal-segsize=1", "-E", "UTF8", "--locale=C").CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Cleanup(func() { p.stop(syscall.SIGQUIT) })
	p.start(t)
	return p
}

// postgresBinaries finds the binaries once for all tests; on a machine that has none they are downloaded.
var postgresBinaries = sync.OnceValues(func() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	found, err := stack.FindPostgres(ctx, nil)
	return found.Bin, err
})

// reservePort returns a port that nobody else is given before the test ends.
func reservePort(t testing.TB) int {
	t.Helper()
	port, err := stack.ReservePort()
	require.NoError(t, err)
	if runtime.GOOS != "linux" { // elsewhere no server can listen on a port that is held
		require.NoError(t, port.Close())
	}
	t.Cleanup(func() { _ = port.Close() })
	return port.Number()
}

func (p *postgres) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(p.bin, name), args...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if os.Getuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	return cmd
}

func (p *postgres) start(t testing.TB) {
	t.Helper()
	p.server = p.command("postgres", "-D", p.dir, "-p", strconv.Itoa(p.port), "-k", "", "-c", "listen_addresses=127.0.0.1",
		"-c", "wal_level=logical", "-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "log_min_messages=fatal",
		"-c", "timezone=Asia/Seoul", "-c", "datestyle=German") // as a user's own server may be set
	var log bytes.Buffer
	p.server.Stderr = &log
	require.NoError(t, p.server.Start())
	require.Eventually(t, func() bool {
		conn, err := p.connect(t.Context(), "postgres")
		if err != nil {
			return false
		}
		return conn.Close(t.Context()) == nil
	}, patience, 5*time.Millisecond, "postgres does not start: %s", &log)
}

// stop ends the server by a signal, and waits until it is gone.
func (p *postgres) stop(signal syscall.Signal) {
	if p.server != nil {
		_ = p.server.Process.Signal(signal)
		_ = p.server.Wait()
		p.server = nil
	}
}

// crash kills the whole tree: backends outlive a killed postmaster, and go on committing.
func (p *postgres) crash(t testing.TB) {
	postmaster := p.server.Process
	require.NoError(t, postmaster.Signal(syscall.SIGSTOP))
	children, err := exec.Command("pgrep", "-P", strconv.Itoa(postmaster.Pid)).Output()
	require.NoError(t, err)
	for child := range strings.FieldsSeq(string(children)) {
		pid, err := strconv.Atoi(child)
		require.NoError(t, err)
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	p.stop(syscall.SIGKILL)
}

func (p *postgres) dsn(database string) string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", p.port, database)
}

func (p *postgres) connect(ctx context.Context, database string) (*pgx.Conn, error) {
	return pgx.Connect(ctx, p.dsn(database))
}

// exec runs statements in database shop.
func (p *postgres) exec(t testing.TB, statements ...string) {
	t.Helper()
	conn, err := p.connect(context.Background(), "shop")
	require.NoError(t, err)
	defer conn.Close(context.Background())
	for _, sql := range statements {
		_, err := conn.Exec(context.Background(), sql)
		require.NoError(t, err, sql)
	}
}

// prepare makes database shop with tables, publication and slot.
func (p *postgres) prepare(t testing.TB, tables ...string) {
	t.Helper()
	conn, err := p.connect(t.Context(), "postgres")
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "CREATE DATABASE shop")
	require.NoError(t, err)
	require.NoError(t, conn.Close(t.Context()))
	p.exec(t, tables...)
	p.exec(t, "CREATE PUBLICATION ordeal FOR ALL TABLES", "SELECT pg_create_logical_replication_slot('ordeal_shop', 'pgoutput')")
}

// journal is a history being written by one test.
type journal struct {
	*history.Recorder
	path string
}

func newJournal(t testing.TB) *journal {
	path := filepath.Join(t.TempDir(), "history.jsonl")
	recorder, err := history.Create(path, history.Header{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = recorder.Close() })
	return &journal{Recorder: recorder, path: path}
}

// events ends the journal and returns what is in it.
func (j *journal) events(t testing.TB) []history.Event {
	require.NoError(t, j.Close())
	var events []history.Event
	_, err := history.Read(j.path, func(e history.Event) error { events = append(events, e); return nil })
	require.NoError(t, err)
	return events
}

func (j *journal) rows(t testing.TB) []history.Row {
	var rows []history.Row
	for _, e := range j.events(t) {
		if e.Row != nil {
			rows = append(rows, *e.Row)
		}
	}
	return rows
}

func (p *postgres) tap(t testing.TB, j *journal) *WAL {
	t.Helper()
	tap, err := TapWAL(t.Context(), WALConfig{DSN: p.dsn("shop"), Slot: "ordeal_shop", Publication: "ordeal", Recorder: j.Recorder})
	require.NoError(t, err)
	t.Cleanup(func() { _ = tap.Close() })
	return tap
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}
