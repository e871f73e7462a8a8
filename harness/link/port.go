//go:build unix

package link

import (
	"context"
	"fmt"
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ordeal-chaos/ordeal/harness/loopback"
)

// port is a loopback port that stays ours: a bound socket that never listens holds it, and next to it a
// listener can come and go. While there is none, the kernel refuses connections, and nobody else can
// take the port.
type port struct {
	holder int // descriptor
	number int

	mu       sync.Mutex
	listener *net.TCPListener
	released bool
}

// reservePort binds a free port of 127.0.0.1.
func reservePort() (*port, error) {
	syscall.ForkLock.RLock() // no child may inherit the port
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, fmt.Errorf("make socket: %w", err)
	}
	number, err := bind(fd)
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("reserve port: %w", err)
	}
	return &port{holder: fd, number: number}, nil
}

func bind(fd int) (int, error) {
	if err := share(fd); err != nil {
		return 0, err
	}
	return loopback.Bind(fd, 0)
}

func (p *port) addr() string { return fmt.Sprintf("127.0.0.1:%d", p.number) }

// listen makes the port accept connections.
func (p *port) listen() (*net.TCPListener, error) {
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
	listener, err := config.Listen(context.Background(), "tcp4", p.addr())
	if err != nil {
		return nil, err
	}
	p.listener = listener.(*net.TCPListener)
	return p.listener, nil
}

// unlisten makes the kernel refuse connections.
func (p *port) unlisten() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener == nil {
		return nil
	}
	err := p.listener.Close()
	p.listener = nil
	return err
}

// release gives the port back.
func (p *port) release() error {
	err := p.unlisten()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.released {
		return err
	}
	p.released = true
	if failed := unix.Close(p.holder); err == nil {
		err = failed
	}
	return err
}
