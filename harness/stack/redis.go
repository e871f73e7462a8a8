package stack

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/alicebob/miniredis/v2"
)

// Cache is one Redis server. It is a [Node]. The embedded one keeps all in memory, and loses it with its process.
type Cache struct {
	Node
	peerList
	addr string
}

// Addr is the server's own address, which only observers and links may use.
func (c *Cache) Addr() string { return c.addr }

// PublishedAddr is the address for people: where the server is a container, its port on this machine.
func (c *Cache) PublishedAddr() string { return published(c.Node, c.addr) }

// addCache lists a Redis server.
func (e *Environment) addCache(s server, addr string, peers peerList) {
	e.addServer(s)
	e.caches = append(e.caches, &Cache{Node: s, addr: addr, peerList: peers})
}

// redisConfig is what the cache program is told, in redisEnv.
type redisConfig struct {
	Addr  string
	Peers string // a file
}

const redisEnv = "ORDEAL_REDIS"

// addCaches describes the Redis servers of one environment and their processes. They are not started.
func (b *embedded) addCaches(e *Environment, options Options) error {
	for _, name := range options.Caches {
		port, err := e.reserveLocal()
		if err != nil {
			return err
		}
		peers := filepath.Join(e.logs, name+".peers")
		told, err := json.Marshal(redisConfig{Addr: port.Addr(), Peers: peers})
		if err != nil {
			return fmt.Errorf("configure %s: %w", name, err)
		}
		process := &Process{log: e.logPath(name), reaper: b.reaper, record: e.record}
		process.task = task{
			Spec: Spec{
				Name: name, Program: redisProgram, Env: []string{redisEnv + "=" + string(told)}, Ports: []*Port{port},
				Ready: func(ctx context.Context) error { return answersRedis(ctx, e.ObserverDial, port.Addr()) },
			},
			events: []string{name}, stop: syscall.SIGTERM,
		}
		e.addCache(process, port.Addr(), loggedPeers(peers, peerLine))
	}
	return nil
}

// redisMain is the process of one Redis server.
func redisMain(ctx context.Context) int {
	if err := serveRedis(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func serveRedis(ctx context.Context) error {
	var config redisConfig
	if err := json.Unmarshal([]byte(os.Getenv(redisEnv)), &config); err != nil {
		return fmt.Errorf("read %s: %w", redisEnv, err)
	}
	peers, err := os.OpenFile(config.Peers, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open list of peers: %w", err)
	}
	defer peers.Close()
	// Miniredis wants a listener of its own, which writes no peers down. Without a certificate nobody gets past it.
	redis := miniredis.NewMiniRedis()
	noCertificate := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("not for clients") }
	if err := redis.StartTLS(&tls.Config{GetCertificate: noCertificate}); err != nil {
		return fmt.Errorf("start miniredis: %w", err)
	}
	defer redis.Close()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", config.Addr)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		if err := writePeer(peers, conn); err != nil {
			return err
		}
		redis.Server().ServeConn(conn)
	}
}

func writePeer(peers *os.File, conn net.Conn) error {
	_, port, err := net.SplitHostPort(conn.RemoteAddr().String())
	if err == nil {
		_, err = fmt.Fprintln(peers, port)
	}
	if err != nil {
		return fmt.Errorf("write down peer: %w", errors.Join(err, conn.Close()))
	}
	return nil
}

// answersRedis says whether a server answers PING.
func answersRedis(ctx context.Context, dial dialFunc, addr string) (err error) {
	conn, err := dial(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	if _, err := conn.Write([]byte("*1\r\n$4\r\nPING\r\n")); err != nil {
		return err
	}
	answer := make([]byte, len("+PONG\r\n"))
	n, err := conn.Read(answer)
	if err != nil {
		return fmt.Errorf("read answer of %s: %w", addr, err)
	}
	if got := string(answer[:n]); got != "+PONG\r\n" {
		return fmt.Errorf("%s answers %s", addr, strconv.Quote(got))
	}
	return nil
}
