//go:build unix && !linux

package link

import "golang.org/x/sys/unix"

// share lets the holder and the listener bind one port. On the BSDs, macOS included, two sockets may bind
// the same address and port only with SO_REUSEPORT.
func share(fd int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
}
