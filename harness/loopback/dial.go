// Package loopback owns what the harness knows about its own TCP ports: which local ports its connections
// used, and how often it reached out to an address.
package loopback

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Ports counts local ports by their uses, for the proof that no connection walked round its link. The zero
// value is ready for use, by several goroutines.
type Ports struct {
	mu    sync.Mutex
	set   map[int]int    // port → how often it was used
	dials map[string]int // address → how often a socket reached out to it
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

// Dials is how many sockets reached out to the address, as it was given to Dial, and may have got there: only a
// refusal proves that one did not.
func (p *Ports) Dials(addr string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dials[addr]
}

// dialled records one use of the port, towards the address.
func (p *Ports) dialled(addr string, port int) {
	p.Add(port)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dials == nil {
		p.dials = make(map[string]int)
	}
	p.dials[addr]++
}

// refused takes back one dial of the address.
func (p *Ports) refused(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dials[addr]--
}

// Dial connects like [net.Dialer.DialContext] and records the local port. Over IPv4 it binds and records
// the port before it connects: a dial that is given up may have reached the server all the same.
func (p *Ports) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	dialer := net.Dialer{Control: func(network, _ string, raw syscall.RawConn) error {
		if network != "tcp4" {
			return nil
		}
		var bound int
		var err error
		// The unspecified address: which of this machine's own leads to the server is the kernel's to know.
		if controlErr := raw.Control(func(fd uintptr) { bound, err = BindTo(int(fd), netip.IPv4Unspecified(), 0) }); controlErr != nil {
			return controlErr
		}
		if err == nil {
			p.dialled(addr, bound)
		}
		return err
	}}
	conn, err := dialer.DialContext(ctx, network, addr)
	if err != nil {
		if errors.Is(err, syscall.ECONNREFUSED) {
			p.refused(addr)
		}
		return nil, err
	}
	if local, ok := conn.LocalAddr().(*net.TCPAddr); ok && local.IP.To4() == nil {
		p.dialled(addr, local.Port)
	}
	return conn, nil
}

// Bind binds an open IPv4 socket to the port of 127.0.0.1 (0: any free one) and returns the port.
func Bind(fd, number int) (int, error) {
	return BindTo(fd, netip.AddrFrom4([4]byte{127, 0, 0, 1}), number)
}

// BindTo is Bind for another IPv4 address of this machine.
func BindTo(fd int, addr netip.Addr, number int) (int, error) {
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: number, Addr: addr.As4()}); err != nil {
		return 0, err
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return 0, err
	}
	return name.(*unix.SockaddrInet4).Port, nil
}
