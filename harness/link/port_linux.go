package link

import "golang.org/x/sys/unix"

// share lets the holder and the listener bind one port. On Linux SO_REUSEADDR is enough as long as one
// of the two never listens, and it shares with no socket that lacks it.
func share(fd int) error {
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
}
