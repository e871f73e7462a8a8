package stack

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	postgresPort = 5432
	// postgresHosts is the address, in the network of clients, of an environment's first Postgres server.
	postgresHosts = 21
)

// addPostgres describes the Postgres servers of an environment, in the network of its clients. They are not
// started.
func (b *containers) addPostgres(ctx context.Context, e *Environment, on *network, options Options) error {
	host := postgresHosts
	for name, databases := range options.servers() {
		prepared, err := b.preparedImage(ctx, on, databases)
		if err != nil {
			return err
		}
		c, err := b.newPostgres(ctx, e.ObserverDial, containerSpec{
			event: name, image: prepared, at: []attachment{{network: on, address: on.address(host)}},
		})
		if err != nil {
			return err
		}
		host++
		c.lend(filepath.Join(e.logs, name+".log"), e.record)
		e.refuses(c.address(postgresPort), c)
		e.addPostgres(c, c.address(postgresPort), containerPeers(c, on, e.ObserverDial), databases)
	}
	return nil
}

// newPostgres describes a server that has a database postgres and needs no password. It is not started.
func (b *containers) newPostgres(ctx context.Context, dial dialFunc, spec containerSpec) (*container, error) {
	spec.name = fmt.Sprintf("%d-%s", b.number(), spec.event)
	spec.ports = []int{postgresPort}
	c := b.engine.container(spec)
	if !b.engine.direct {
		// Its address is a port of the engine's host, which is known once the container exists.
		if err := c.create(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("make %s: %w", spec.event, err), c.remove(context.WithoutCancel(ctx)))
		}
	}
	config, err := pgconn.ParseConfig(postgresURL(c.address(postgresPort), Superuser))
	if err != nil {
		return nil, fmt.Errorf("parse own connection URL: %w", err)
	}
	config.DialFunc = pgconn.DialFunc(dial)
	c.spec.ready = func(ctx context.Context) error { return answersQueries(ctx, config) }
	return c, nil
}

// connectionFrom matches what Postgres logs about each connection; those over its socket have no port.
var connectionFrom = regexp.MustCompile(`connection received: host=(\S+) port=(\d+)`)

// markerTimeout bounds how long a connection may take to show in the log of its server.
const markerTimeout = 10 * time.Second

// containerPeers reads the peers of a Postgres server from its container's log. The log may be behind the
// server: a connection of our own, which is found by its name, marks its end first.
func containerPeers(c *container, on *network, dial dialFunc) peerList {
	return peerList{proxied: !c.engine.direct, read: func() (found peers, err error) {
		ctx, cancel := context.WithTimeout(context.Background(), markerTimeout)
		defer cancel()
		marker := ""
		if c.Alive() {
			marker = "ordeal-" + rand.Text()
			if err := leaveMark(ctx, c.address(postgresPort), marker, dial); err != nil {
				return peers{}, fmt.Errorf("mark end of log of %s: %w", c.Name(), err)
			}
		}
		err = await(ctx, "own connection in the log of "+c.Name(), func() (complete bool, err error) {
			log, err := c.logs(ctx, time.Unix(0, 0))
			if err != nil {
				return false, err
			}
			found = peers{}
			lines := bufio.NewScanner(log)
			lines.Buffer(nil, 16<<20) // a logged statement may be long
			for lines.Scan() {
				if match := connectionFrom.FindStringSubmatch(lines.Text()); match != nil {
					found.add(on, !c.engine.direct, match[1], match[2])
				}
				complete = complete || marker != "" && strings.Contains(lines.Text(), marker)
			}
			return complete || marker == "", lines.Err()
		})
		return found, err
	}}
}

// add sorts a connection: the harness comes from the network's gateway, or, where the port is published,
// from anywhere but the network's other containers.
func (p *peers) add(on *network, published bool, host, port string) {
	from, err := netip.ParseAddr(host)
	ours := from == on.gateway || published && err == nil && !from.IsLoopback() && !on.subnet.Contains(from)
	number, badPort := strconv.Atoi(port)
	if ours && badPort == nil {
		p.ports = append(p.ports, number)
	} else {
		p.strangers = append(p.strangers, host)
	}
}

// leaveMark makes a connection under a name that shows in the server's log.
func leaveMark(ctx context.Context, addr, name string, dial dialFunc) error {
	config, err := pgconn.ParseConfig(postgresURL(addr, Superuser))
	if err != nil {
		return fmt.Errorf("parse own connection URL: %w", err)
	}
	config.DialFunc = pgconn.DialFunc(dial)
	config.RuntimeParams["application_name"] = name
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}
