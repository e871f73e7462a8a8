package stack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
	"github.com/moby/moby/client/pkg/versions"
	"github.com/testcontainers/testcontainers-go"
)

const (
	// oldestAPI is that of Docker 20.10.
	oldestAPI = "1.41"
	// engineTimeout bounds how long an engine may take for its first answer.
	engineTimeout = 5 * time.Second
)

// connection is a client of an engine that answered.
type connection struct {
	*client.Client
	address string
	api     string // the engine's newest
}

// engineAddress is where the engine is expected: at DOCKER_HOST, else at the first socket that is there, in
// the order of Testcontainers.
func engineAddress() string {
	if host := os.Getenv(client.EnvOverrideHost); host != "" {
		return host
	}
	sockets := []string{strings.TrimPrefix(client.DefaultDockerHost, "unix://")}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		sockets = append(sockets, filepath.Join(dir, "docker.sock"))
	}
	if home, err := os.UserHomeDir(); err == nil {
		sockets = append(sockets, filepath.Join(home, ".docker/run/docker.sock"), filepath.Join(home, ".docker/desktop/docker.sock"))
	}
	sockets = append(sockets, filepath.Join("/run/user", strconv.Itoa(os.Getuid()), "docker.sock"))
	for _, socket := range sockets {
		if _, err := os.Stat(socket); err == nil {
			return "unix://" + socket
		}
	}
	return client.DefaultDockerHost
}

// dialEngine connects to the engine at the address and says why it cannot be used: Testcontainers waits for
// ever for an engine that hangs, remembers a failure for as long as the process lives, and explains neither.
func dialEngine(ctx context.Context, address string) (*connection, error) {
	attempt, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	c, err := pingEngine(attempt, address)
	if ctx.Err() != nil && err != nil {
		return nil, context.Cause(ctx)
	}
	return c, err
}

func pingEngine(ctx context.Context, address string) (*connection, error) {
	// The client hides the reason why a socket cannot be opened.
	if path, isSocket := strings.CutPrefix(address, "unix://"); isSocket {
		socket, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
		if err != nil {
			return nil, noEngine(address, err)
		}
		_ = socket.Close()
	}
	if strings.HasPrefix(address, "ssh:") {
		return nil, noEngine(address, errors.New("connections by ssh are not supported"))
	}
	api, err := client.New(client.FromEnv, client.WithHost(address))
	if err != nil {
		return nil, noEngine(address, err)
	}
	pong, err := api.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true})
	if pong.APIVersion != "" && versions.LessThan(pong.APIVersion, oldestAPI) {
		err = tooOld(address, pong.APIVersion)
	} else if err != nil {
		err = noEngine(address, err)
	}
	if err != nil {
		return nil, errors.Join(err, api.Close())
	}
	return &connection{api, address, pong.APIVersion}, nil
}

// checkEngine says why the engine that the environment names cannot be used.
func checkEngine(ctx context.Context) error {
	c, err := dialEngine(ctx, engineAddress())
	if err != nil {
		return err
	}
	return c.Close()
}

const ryukEnv = "TESTCONTAINERS_RYUK_DISABLED"

// ryukImage is what Testcontainers would run.
var ryukImage = testcontainers.ReaperDefaultImage //nolint:staticcheck // deprecated, but nothing else tells

// decideRyuk keeps Testcontainers from pulling its reaper, Ryuk, when the engine does not have it: where no
// registry can be reached, no container at all would start. Ours and the sweep at the next start do without
// it. Testcontainers reads the setting once in a process, so this comes before its first use; what the user
// set is left alone.
func decideRyuk(ctx context.Context) error {
	if os.Getenv(ryukEnv) != "" {
		return nil
	}
	c, err := dialEngine(ctx, engineAddress())
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // idle connections only
	_, err = c.ImageInspect(ctx, ryukImage)
	switch {
	case errdefs.IsNotFound(err):
		return os.Setenv(ryukEnv, "true")
	case err != nil:
		return fmt.Errorf("look for the image of Ryuk: %w", err)
	}
	return nil
}
