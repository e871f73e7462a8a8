package stack

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"syscall"

	mobycontainer "github.com/moby/moby/api/types/container"
	mobynetwork "github.com/moby/moby/api/types/network"
	"github.com/testcontainers/testcontainers-go"
)

// create makes the container. A published port that another took meanwhile shows only at the start.
func (c *container) create(ctx context.Context) error {
	ctx, cancel := whole(ctx)
	defer cancel()
	c.published = map[int]int{}
	bindings, exposed := mobynetwork.PortMap{}, []string(nil)
	for _, port := range c.spec.ports {
		outside, err := c.engine.freePort()
		if err != nil {
			return err
		}
		c.published[port] = outside
		name := strconv.Itoa(port) + "/tcp"
		exposed = append(exposed, name)
		bindings[mobynetwork.MustParsePort(name)] = []mobynetwork.PortBinding{{HostIP: c.engine.bind, HostPort: strconv.Itoa(outside)}}
	}
	first := c.spec.at[0]
	made, err := c.engine.provider.CreateContainer(ctx, testcontainers.ContainerRequest{
		Name: c.engine.name(c.spec.name), Image: c.spec.image, Env: c.spec.env, Labels: c.engine.labelled(),
		Entrypoint: c.spec.entrypoint, Cmd: c.spec.cmd, ExposedPorts: exposed, Files: c.spec.files,
		Networks: []string{first.network.name},
		ConfigModifier: func(config *mobycontainer.Config) {
			// An engine makes it an alias on the first network too: not the name by which brokers find each other
			// on theirs.
			config.Hostname = c.spec.name
		},
		HostConfigModifier: func(config *mobycontainer.HostConfig) {
			config.PortBindings = bindings
			// The log is evidence: whole, whatever the engine does with those of others. It knows no size without a limit.
			config.LogConfig = mobycontainer.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "1000g"}}
		},
		EndpointSettingsModifier: func(settings map[string]*mobynetwork.EndpointSettings) {
			settings[first.network.name] = first.endpoint()
		},
	})
	if made != nil {
		c.mu.Lock()
		c.id = made.GetContainerID()
		c.mu.Unlock()
	}
	if err != nil {
		return fmt.Errorf("create container: %w", err)
	}
	for _, more := range c.spec.at[1:] {
		if err := more.network.connect(ctx, c.id, more); err != nil {
			return err
		}
	}
	return nil
}

// freePort picks a port to publish, below those that the kernel gives out by itself, so that it is
// still free after a restart.
func (g *engine) freePort() (int, error) {
	const first, count, tries = 20000, 10000, 50
	for range tries {
		port := first + rand.IntN(count)
		listener, err := net.Listen("tcp", net.JoinHostPort(g.bind.String(), strconv.Itoa(port)))
		if errors.Is(err, syscall.EADDRNOTAVAIL) {
			return port, nil // the address of another machine
		}
		if err == nil {
			return port, listener.Close()
		}
	}
	return 0, fmt.Errorf("find a port of %s to publish: none of %d tried is free", g.bind, tries)
}
