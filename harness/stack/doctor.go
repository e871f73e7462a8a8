package stack

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Finding is one thing that [Doctor] looked at.
type Finding struct {
	Name   string // "postgres binaries"
	OK     bool
	Detail string // what was found
	Fix    string // what to do about it; "" when OK
	// Optional says that the embedded backend runs without it.
	Optional bool
}

// Doctor checks whether this machine can run the embedded backend, and says what else is there. It may
// download Postgres, as a run would.
func Doctor(ctx context.Context) []Finding {
	return []Finding{
		doctorUser(), doctorPostgres(ctx), doctorCache(), doctorTemp(), doctorPorts(), doctorFiles(), doctorEngine(ctx),
	}
}

// found makes a finding: detail when err is nil, else the error and what to do.
func found(name, detail string, err error, fix string) Finding {
	if err != nil {
		return Finding{Name: name, Detail: err.Error(), Fix: fix}
	}
	return Finding{Name: name, OK: true, Detail: detail}
}

func doctorUser() Finding {
	as, err := serverAccount()
	detail := fmt.Sprintf("uid %d", os.Geteuid())
	if as != nil {
		detail += ", Postgres runs as " + as.name
	}
	return found("user", detail, err, "run as an ordinary user, or add one named postgres")
}

func doctorPostgres(ctx context.Context) Finding {
	binaries, err := FindPostgres(ctx, nil)
	return found("postgres binaries", binaries.String(), err,
		fmt.Sprintf("install Postgres %d or later, or set %s", oldestPostgres, PostgresBinEnv))
}

func doctorCache() Finding {
	as, err := serverAccount()
	var dir string
	if err == nil {
		dir, err = cacheDir(as)
	}
	if err == nil {
		err = checkWritable(dir)
	}
	return found("cache folder", dir, err, "set "+CacheEnv+" to a folder that can be written")
}

func doctorTemp() Finding {
	dir := os.TempDir()
	as, err := serverAccount()
	if err == nil {
		err = as.reaches(dir)
	}
	if err == nil {
		err = checkSpace(dir)
	}
	if err == nil {
		err = checkWritable(dir)
	}
	return found("temporary space", dir, err, "free some space, or set TMPDIR to another folder")
}

func doctorPorts() Finding {
	port, err := ReservePort()
	if err == nil {
		err = checkPort(port)
	}
	return found("loopback ports", "reserved, served and refused as they should be", err,
		"allow TCP on 127.0.0.1; see net.ipv4.ip_local_port_range")
}

func checkPort(port *Port) error {
	defer func() { _ = port.Close() }() // it was only tried out
	if conn, err := net.DialTimeout("tcp", port.Addr(), time.Second); err == nil {
		_ = conn.Close()
		return fmt.Errorf("a connection to reserved port %s was not refused", port.Addr())
	}
	if err := port.lend(); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", port.Addr())
	if err != nil {
		return err
	}
	return listener.Close()
}

// leastFiles is what several environments in parallel need, each with servers, services and links.
const leastFiles = 1024

func doctorFiles() Finding {
	var limit unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	if err == nil && limit.Cur < leastFiles {
		err = fmt.Errorf("%d open files allowed, %d wanted", limit.Cur, leastFiles)
	}
	return found("open files", fmt.Sprintf("%d allowed", limit.Cur), err, fmt.Sprintf("ulimit -n %d", leastFiles))
}

// doctorEngine only reports: the embedded backend needs no container engine.
func doctorEngine(ctx context.Context) Finding {
	path := "/var/run/docker.sock"
	if host := os.Getenv("DOCKER_HOST"); strings.HasPrefix(host, "unix://") {
		path = strings.TrimPrefix(host, "unix://")
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err == nil {
		err = conn.Close()
	}
	engine := found("container engine", "answers on "+path, err, "nothing: the embedded backend needs none")
	engine.Optional = true
	return engine
}
