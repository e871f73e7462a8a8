// Package loopback owns what the harness knows about TCP ports of 127.0.0.1: which local ports its own
// connections used.
package loopback

import (
	"context"
	"net"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Ports counts local ports by their uses, for the proof that no connection walked round its link. The zero
// value is ready for use, by several goroutines.
type Ports struct {
	mu  sync.Mutex
	set map[int]int // port → how often it was used
}

// Add records one use of the port.
func (p *Ports) Add(port int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.set == nil {
		p.set = make(map[int]int)
	}
	p.set[port]++
}

// Owns says whether the port was recorded.
func (p *Ports) Owns(port int) bool { return p.Uses(port) > 0 }

// Uses is how many connections were dialled from the port. The kernel gives a port out again once it is
// free, so that a server may see it more than once.
func (p *Ports) Uses(port int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.set[port]
}

// All returns the recorded ports, ascending.
func (p *Ports) All() []int {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]int, 0, len(p.set))
	for port := range p.set {
		all = append(all, port)
	}
	slices.Sort(all)
	return all
}

// Dial connects like [net.Dialer.DialContext] and records the local port. On 127.0.0.1 it binds and
// records the port before it connects: a dial that is given up may have reached the server all the same.
func (p *Ports) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	bound := 0
	dialer := net.Dialer{Control: func(_, addr string, raw syscall.RawConn) error {
		host, _, err := net.SplitHostPort(addr)
		if err != nil || host != "127.0.0.1" {
			return err
		}
		if controlErr := raw.Control(func(fd uintptr) { bound, err = Bind(int(fd), 0) }); controlErr != nil {
			return controlErr
		}
		if err == nil {
			p.Add(bound)
		}
		return err
	}}
	conn, err := dialer.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	if local, ok := conn.LocalAddr().(*net.TCPAddr); ok && local.Port != bound {
		p.Add(local.Port)
	}
	return conn, nil
}

// Bind binds an open IPv4 socket to the port of 127.0.0.1 (0: any free one) and returns the port.
func Bind(fd, number int) (int, error) {
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: number, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, err
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return 0, err
	}
	return name.(*unix.SockaddrInet4).Port, nil
}
