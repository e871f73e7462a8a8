package stack

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"time"
)

const (
	redisPort = 6379
	// redisHosts is the address, in the network of clients, of an environment's first Redis server.
	redisHosts = 41
)

// Verbose, so that it logs each connection that it accepts. What it keeps is in memory only, as in the embedded one.
var redisCommand = []string{"redis-server", "--loglevel", "verbose", "--save", "", "--appendonly", "no", "--protected-mode", "no"}

// addCaches describes the Redis servers of an environment, in the network of its clients. They are not started.
func (b *containers) addCaches(ctx context.Context, e *Environment, on *network, options Options) error {
	if len(options.Caches) == 0 {
		return nil
	}
	found, err := redisImage.find(ctx, b.engine.client, os.Getenv(RedisImageEnv), b.log)
	if err != nil {
		return err
	}
	for i, name := range options.Caches {
		c := b.engine.container(containerSpec{
			name: fmt.Sprintf("%d-%s", b.number(), name), event: name, image: found.name, cmd: redisCommand,
			at: []attachment{{network: on, address: on.address(redisHosts + i)}}, ports: []int{redisPort},
		})
		if !b.engine.direct {
			// Its address is a port of the engine's host, which is known once the container exists.
			if err := c.create(ctx); err != nil {
				return errors.Join(fmt.Errorf("make %s: %w", name, err), c.remove(context.WithoutCancel(ctx)))
			}
		}
		addr := c.address(redisPort)
		c.spec.ready = func(ctx context.Context) error { return answersRedis(ctx, e.ObserverDial, addr) }
		c.lend(e.logPath(name), e.record)
		e.refuses(addr, c)
		e.addCache(c, addr, redisPeers(c, on, e.ObserverDial))
	}
	return nil
}

// redisAccepted matches what a verbose server logs about each connection.
var redisAccepted = regexp.MustCompile(`Accepted (\S+):(\d+)$`)

// redisPeers reads the peers of a Redis server from its container's log. The log may be behind the server: a connection
// of our own marks its end first. Where a proxy hides its port, any connection more must do.
func redisPeers(c *container, on *network, dial dialFunc) peerList {
	return peerList{proxied: !c.engine.direct, read: func() (found peers, err error) {
		ctx, cancel := context.WithTimeout(context.Background(), markerTimeout)
		defer cancel()
		lines := 0
		read := func(own int) (complete bool, err error) {
			log, err := c.logs(ctx, time.Unix(0, 0))
			if err != nil {
				return false, err
			}
			before := lines
			found, lines = peers{}, 0
			scanner := bufio.NewScanner(log)
			for scanner.Scan() {
				if match := redisAccepted.FindStringSubmatch(scanner.Text()); match != nil {
					lines++
					found.add(on, !c.engine.direct, match[1], match[2])
					complete = complete || match[2] == strconv.Itoa(own)
				}
			}
			return complete || !c.engine.direct && lines > before, scanner.Err()
		}
		if _, err := read(0); err != nil || !c.Alive() {
			return found, err
		}
		conn, err := dial(ctx, "tcp", c.address(redisPort))
		if err != nil {
			return peers{}, fmt.Errorf("mark end of log of %s: %w", c.Name(), err)
		}
		defer conn.Close()
		own := conn.LocalAddr().(*net.TCPAddr).Port
		err = await(ctx, "own connection in the log of "+c.Name(), func() (bool, error) { return read(own) })
		return found, err
	}}
}
