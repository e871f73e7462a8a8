package stack

import (
	"cmp"
	"fmt"
	"net"
	"runtime"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ordeal-chaos/ordeal/harness/loopback"
)

// Port is a TCP port, of 127.0.0.1 unless its server is a container, that stays ours while its server is down: connections are refused,
// and nobody else is given it. It is held by a socket that is bound with SO_REUSEADDR and never
// listens. The server must set SO_REUSEADDR too before it binds (Go, Postgres, the JVM, libuv do).
type Port struct {
	number int
	host   string // "" is 127.0.0.1; another's ports need no holding

	mu sync.Mutex
	fd int // -1 when not held
}

// ReservePort takes a free port.
func ReservePort() (*Port, error) {
	fd, number, err := bindPort(0)
	if err != nil {
		return nil, fmt.Errorf("reserve port: %w", err)
	}
	return &Port{number: number, fd: fd}, nil
}

// Number is the port's number.
func (p *Port) Number() int { return p.number }

// Addr is where to reach the port, host and number.
func (p *Port) Addr() string {
	return net.JoinHostPort(cmp.Or(p.host, localhost), strconv.Itoa(p.number))
}

// Listen is the address that the port's server must listen on. In a container that is every address of its own.
func (p *Port) Listen() string {
	if p.host != "" {
		return net.JoinHostPort("0.0.0.0", strconv.Itoa(p.number))
	}
	return p.Addr()
}

const localhost = "127.0.0.1"

// containerPort is a port of a container, which nobody else can take.
func containerPort(host string, number int) *Port { return &Port{number: number, host: host, fd: -1} }

// Close gives the port up. It is idempotent.
func (p *Port) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fd < 0 {
		return nil
	}
	err := unix.Close(p.fd)
	p.fd = -1
	if err != nil {
		return fmt.Errorf("release port %d: %w", p.number, err)
	}
	return nil
}

// lend lets a server listen on the port; hold takes it back once the server is down.
func (p *Port) lend() error {
	if portsAreShared {
		return nil
	}
	return p.Close()
}

func (p *Port) hold() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fd >= 0 || portsAreShared || p.host != "" {
		return nil
	}
	fd, _, err := bindPort(p.number)
	if err == nil {
		p.fd = fd
	}
	return err
}

// portsAreShared says that a server can listen on a port that another socket is bound to. BSD systems
// want SO_REUSEPORT of both for that, so there the port is free for a moment at each restart.
const portsAreShared = runtime.GOOS == "linux"

// bindPort binds a socket to the port of 127.0.0.1 (0: any free one) without listening.
func bindPort(number int) (fd, bound int, err error) {
	// No child may inherit the socket, so no fork may come between its making and its mark.
	syscall.ForkLock.RLock()
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return -1, 0, fmt.Errorf("open socket: %w", err)
	}
	if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err == nil {
		bound, err = loopback.Bind(fd, number)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, 0, fmt.Errorf("bind 127.0.0.1:%d: %w", number, err)
	}
	return fd, bound, nil
}
