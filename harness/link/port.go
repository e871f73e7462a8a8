//go:build unix

package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ordeal-chaos/ordeal/harness/loopback"
)

// port is one port, on one address of this machine or on several, that stays ours: a bound socket that never
// listens holds it on each, and next to it a listener can come and go. While there is none, the kernel
// refuses connections, and nobody else can take the port.
type port struct {
	hosts   []netip.Addr
	holders []int // descriptors, by host
	number  int

	mu        sync.Mutex
	listeners []*net.TCPListener // by host; none while the kernel refuses
	released  bool
}

// reserveTries is how many ports are tried until one is free on every host.
const reserveTries = 20

// reservePort binds a port that is free on all of hosts, IPv4 addresses of this machine.
func reservePort(hosts []string) (*port, error) {
	p := &port{}
	for _, host := range hosts {
		address, err := netip.ParseAddr(host)
		if err != nil || !address.Is4() {
			return nil, fmt.Errorf("reserve port: %q is no IPv4 address", host)
		}
		p.hosts = append(p.hosts, address)
	}
	for try := 1; ; try++ {
		err := p.hold()
		if err == nil {
			return p, nil
		}
		err = errors.Join(err, p.drop())
		if try == reserveTries || !errors.Is(err, unix.EADDRINUSE) {
			return nil, fmt.Errorf("reserve port: %w", err)
		}
	}
}

// hold takes a free port of the first host, and the same one of the others.
func (p *port) hold() error {
	p.number = 0
	for _, host := range p.hosts {
		syscall.ForkLock.RLock() // no child may inherit the port
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err == nil {
			unix.CloseOnExec(fd)
		}
		syscall.ForkLock.RUnlock()
		if err != nil {
			return fmt.Errorf("make socket: %w", err)
		}
		p.holders = append(p.holders, fd)
		if err = share(fd); err == nil {
			p.number, err = loopback.BindTo(fd, host, p.number)
		}
		if err != nil {
			return fmt.Errorf("bind %s:%d: %w", host, p.number, err)
		}
	}
	return nil
}

// drop lets the port go, on every host where it is held.
func (p *port) drop() error {
	var errs []error
	for _, fd := range p.holders {
		errs = append(errs, unix.Close(fd))
	}
	p.holders = nil
	return errors.Join(errs...)
}

// addr is the port on one of its hosts.
func (p *port) addr(host string) string { return net.JoinHostPort(host, strconv.Itoa(p.number)) }

// listen makes the port accept connections, on every host.
func (p *port) listen() ([]*net.TCPListener, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.released {
		return nil, net.ErrClosed
	}
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		if err := raw.Control(func(fd uintptr) { failed = share(int(fd)) }); err != nil {
			return err
		}
		return failed
	}}
	config.SetMultipathTCP(false)
	for _, host := range p.hosts {
		listener, err := config.Listen(context.Background(), "tcp4", p.addr(host.String()))
		if err != nil {
			return nil, errors.Join(err, p.closeListeners())
		}
		p.listeners = append(p.listeners, listener.(*net.TCPListener))
	}
	return p.listeners, nil
}

// unlisten makes the kernel refuse connections.
func (p *port) unlisten() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closeListeners()
}

// closeListeners is unlisten for a caller that holds mu.
func (p *port) closeListeners() error {
	var errs []error
	for _, listener := range p.listeners {
		errs = append(errs, listener.Close())
	}
	p.listeners = nil
	return errors.Join(errs...)
}

// release gives the port back.
func (p *port) release() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.released {
		return nil
	}
	p.released = true
	return errors.Join(p.closeListeners(), p.drop())
}
