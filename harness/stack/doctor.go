package stack

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
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
	engine := Finding{Name: "container engine", Optional: true}
	c, err := dialEngine(ctx, engineAddress())
	if err == nil {
		defer func() { _ = c.Close() }() // idle connections only
		engine.Detail, engine.Fix, err = describeEngine(ctx, c)
	}
	if err != nil {
		// Errors of this kind say themselves what to do.
		engine.Detail, engine.Fix, _ = strings.Cut(err.Error(), "; ")
	}
	engine.OK = engine.Fix == "" && err == nil
	return engine
}

// describeEngine says what the engine is and which images it has, and how to get those that it has not.
func describeEngine(ctx context.Context, c *connection) (detail, fix string, err error) {
	server, err := c.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		return "", "", fmt.Errorf("ask container engine at %s for its version: %w", c.address, err)
	}
	found := []string{fmt.Sprintf("%s, at %s", engineVersion(server), c.address)}
	var missing []string
	for _, use := range []imageUse{kafkaImage, postgresImage} {
		name := os.Getenv(use.env)
		image, err := use.present(ctx, c, name)
		switch {
		case err == nil:
			found = append(found, "image "+image.String())
		case errdefs.IsNotFound(err):
			missing = append(missing, use.candidates(name)[0])
			found = append(found, "image "+missing[len(missing)-1]+" is not there")
		default:
			return "", "", err
		}
	}
	if len(missing) > 0 {
		fix = "make images, or docker pull " + strings.Join(missing, " and ") + ", which a run tries by itself"
	}
	return strings.Join(found, "\n"), fix, nil
}
