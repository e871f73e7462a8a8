package stack

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
)

// peerList tells which connections a server accepted, for the proof that no client walked round its link.
type peerList struct {
	read func() (peers, error)
	// proxied says that a proxy of the container engine stands before the server, and hides the ports.
	proxied bool
}

// peers are the accepted connections, over all starts of the server.
type peers struct {
	ports     []int    // client ports of connections from this machine
	strangers []string // addresses that no client of the harness can have
}

// Peers returns the client port of every connection that the server accepted from this machine, over all
// its starts. Where [peerList.PeersExact] says no, they are ports of a proxy, and only their number counts.
func (l peerList) Peers() ([]int, error) {
	found, err := l.read()
	return found.ports, err
}

// Strangers returns the addresses of accepted connections that came from elsewhere: no link and no
// observer can have made them.
func (l peerList) Strangers() ([]string, error) {
	found, err := l.read()
	return found.strangers, err
}

// PeersExact says whether the ports of Peers are those of the clients.
func (l peerList) PeersExact() bool { return !l.proxied }

// loggedPeers reads ports from a file, one a line, by the pattern's first group.
func loggedPeers(path string, pattern *regexp.Regexp) peerList {
	return peerList{read: func() (peers, error) {
		ports, err := portsIn(path, pattern)
		return peers{ports: ports}, err
	}}
}

// portsIn collects the port numbers that the pattern's first group finds, one a line.
func portsIn(path string, pattern *regexp.Regexp) ([]int, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read peers: %w", err)
	}
	defer file.Close()
	var ports []int
	lines := bufio.NewReader(file)
	for {
		line, err := lines.ReadSlice('\n')
		if match := pattern.FindSubmatch(line); match != nil {
			port, _ := strconv.Atoi(string(match[1]))
			ports = append(ports, port)
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return ports, nil // end of file
		}
	}
}
