package services_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	infra "github.com/ordeal-chaos/ordeal/harness/stack"
)

// patience is the deadline of what must happen, on a machine that has twenty other things to do as well.
const patience = time.Minute

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
	infra.Dispatch() // this binary is also the program that downloads Postgres
	code := m.Run()
	if shared != nil {
		shared.stop()
	}
	os.Exit(code)
}

// postgres returns the cluster, started at the first call.
func postgres(t testing.TB) *pgCluster {
	startPostgres.Do(func() { shared, sharedErr = runPostgres() })
	require.NoError(t, sharedErr)
	return shared
}

func runPostgres() (*pgCluster, error) {
	finding, cancel := context.WithTimeout(context.Background(), 2*time.Minute) // it may have to be downloaded
	defer cancel()
	found, err := infra.FindPostgres(finding, nil)
	if err != nil {
		return nil, err
	}
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
		cmd := exec.Command(filepath.Join(found.Bin, name), args...)
		output := &bytes.Buffer{}
		cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = dir, output, output, attr
		return cmd, output
	}
	data := filepath.Join(dir, "data")
	initdb, output := command("initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync", "--no-instructions")
	if err := initdb.Run(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, output)
	}
	port, err := reservePort()
	if err != nil {
		return nil, err
	}
	server, output := command("postgres", "-D", data, "-p", fmt.Sprint(port.Number()), "-k", dir,
		"-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "wal_level=logical", "-c", "shared_buffers=16MB", "-c", "max_connections=200")
	if err := server.Start(); err != nil {
		return nil, err
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = server.Wait() // it is stopped by a signal
	}()
	c := &pgCluster{address: port.Addr()}
	c.stop = func() {
		_ = server.Process.Signal(syscall.SIGQUIT)
		<-exited
		_ = port.Close()
		_ = os.RemoveAll(dir)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
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

// reservePort takes a port that nobody else is given before it is closed.
func reservePort() (*infra.Port, error) {
	port, err := infra.ReservePort()
	if err == nil && runtime.GOOS != "linux" { // elsewhere no server can listen on a port that is held
		err = port.Close()
	}
	return port, err
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
