package services_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
)

// nobody is the unprivileged user that runs Postgres when the tests run as root, which Postgres refuses.
const nobody = 65534

// pgCluster is a private Postgres server for the tests of this package.
type pgCluster struct {
	address string
	serial  atomic.Int64
	stop    func()
}

var (
	startPostgres sync.Once
	shared        *pgCluster
	sharedErr     error
)

func TestMain(m *testing.M) {
	code := m.Run()
	if shared != nil {
		shared.stop()
	}
	os.Exit(code)
}

// postgres returns the cluster, and skips the test where there are no binaries to run it.
func postgres(t testing.TB) *pgCluster {
	bin, looked := findPostgres()
	if bin == "" {
		t.Skipf("no Postgres binaries (initdb, postgres) in %v: install Postgres 15 or later, or set ORDEAL_PG_BIN", looked)
	}
	startPostgres.Do(func() { shared, sharedErr = runPostgres(bin) })
	require.NoError(t, sharedErr)
	return shared
}

func findPostgres() (dir string, looked []string) {
	looked = []string{os.Getenv("ORDEAL_PG_BIN")}
	if path, err := exec.LookPath("initdb"); err == nil {
		looked = append(looked, filepath.Dir(path))
	}
	patterns := []string{"/usr/lib/postgresql/*/bin", "/opt/homebrew/opt/postgresql*/bin"}
	if cache, err := os.UserCacheDir(); err == nil {
		patterns = append(patterns, filepath.Join(cache, "ordeal/*/bin"), filepath.Join(cache, "ordeal/*/*/bin"))
	}
	for _, pattern := range patterns {
		matches, _ := filepath.Glob(pattern) // the pattern is well-formed
		looked = append(looked, matches...)
	}
	for _, dir := range looked {
		_, errInit := os.Stat(filepath.Join(dir, "initdb"))
		_, errServe := os.Stat(filepath.Join(dir, "postgres"))
		if dir != "" && errInit == nil && errServe == nil {
			return dir, looked
		}
	}
	return "", append(looked, patterns...)
}

func runPostgres(bin string) (*pgCluster, error) {
	dir, err := os.MkdirTemp("/tmp", "services-test-")
	if err != nil {
		return nil, err
	}
	attr := &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() == 0 {
		attr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
		if err := os.Chown(dir, nobody, nobody); err != nil {
			return nil, err
		}
	}
	command := func(name string, args ...string) (*exec.Cmd, *bytes.Buffer) {
		cmd := exec.Command(filepath.Join(bin, name), args...)
		output := &bytes.Buffer{}
		cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = dir, output, output, attr
		return cmd, output
	}
	data := filepath.Join(dir, "data")
	initdb, output := command("initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync", "--no-instructions")
	if err := initdb.Run(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, output)
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	server, output := command("postgres", "-D", data, "-p", fmt.Sprint(port), "-k", dir,
		"-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_connections=200")
	if err := server.Start(); err != nil {
		return nil, err
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = server.Wait() // it is stopped by a signal
	}()
	c := &pgCluster{address: fmt.Sprintf("127.0.0.1:%d", port)}
	c.stop = func() {
		_ = server.Process.Signal(syscall.SIGQUIT)
		<-exited
		_ = os.RemoveAll(dir)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := pgx.Connect(context.Background(), c.url("postgres"))
		if err == nil {
			return c, conn.Close(context.Background())
		}
		if time.Now().After(deadline) {
			c.stop()
			return nil, fmt.Errorf("postgres did not start: %w\n%s", err, output)
		}
	}
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

func (c *pgCluster) url(database string) string {
	return fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable", c.address, database)
}

// database makes a database with a schema and returns a pool for it.
func (c *pgCluster) database(t testing.TB, schema string) *pgxpool.Pool {
	ctx := context.Background()
	admin, err := pgx.Connect(ctx, c.url("postgres"))
	require.NoError(t, err)
	defer admin.Close(ctx)
	name := fmt.Sprintf("test_%d", c.serial.Add(1))
	_, err = admin.Exec(ctx, "create database "+name)
	require.NoError(t, err)
	pool, err := pgxpool.New(ctx, c.url(name))
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	_, err = pool.Exec(ctx, schema)
	require.NoError(t, err)
	return pool
}
