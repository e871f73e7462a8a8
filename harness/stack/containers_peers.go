package stack

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
)

// kafkaAccepted is what a broker logs about a connection that it takes over.
var kafkaAccepted = regexp.MustCompile(`listening to new connection from /(\d+\.\d+\.\d+\.\d+:\d+)`)

// kafkaPeers tells from a broker's log which connections it accepted. The log reaches the harness some
// time after the fact, so each reading makes a connection first, a marker, and waits to find it there: the
// broker's one network thread logs connections in the order in which they came.
type kafkaPeers struct {
	broker *container
	dial   dialFunc
	log    string
	mesh   *network // nil for a broker alone
	first  int      // the entry of the log from which on connections are the environment's
}

// begin leaves out all connections that were made until now.
func (k *kafkaPeers) begin(ctx context.Context) error {
	marker, err := k.mark(ctx)
	k.first = marker
	return err
}

// read lists the connections that were accepted until now.
func (k *kafkaPeers) read() (peers, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*probeTimeout)
	defer cancel()
	// One that is down accepts nothing, and its log was written when its end was announced.
	if k.broker.Alive() {
		if _, err := k.mark(ctx); err != nil {
			return peers{}, err
		}
	}
	accepted, err := k.accepted()
	if err != nil {
		return peers{}, err
	}
	var found peers
	gateway := k.broker.spec.at[0].network.gateway
	for _, from := range accepted[min(k.first, len(accepted)):] {
		switch at := from.Addr(); {
		case at.IsLoopback(), at == k.broker.host(), k.mesh != nil && k.mesh.subnet.Contains(at):
			// The broker itself, or another one.
		case at == gateway, !k.broker.engine.direct:
			found.ports = append(found.ports, int(from.Port()))
		default:
			found.strangers = append(found.strangers, from.String())
		}
	}
	return found, nil
}

// mark connects, awaits that entry in the log, and returns which one it is.
func (k *kafkaPeers) mark(ctx context.Context) (entry int, err error) {
	before, err := k.accepted()
	if err != nil {
		return 0, err
	}
	conn, err := k.dial(ctx, "tcp", k.broker.address(clientPort))
	if err != nil {
		return 0, fmt.Errorf("mark log of %s: %w", k.broker.Name(), err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	own := conn.LocalAddr().(*net.TCPAddr).Port
	err = await(ctx, "a new connection in the log of "+k.broker.Name(), func() (bool, error) {
		after, err := k.accepted()
		if err != nil || len(after) == len(before) {
			return false, err
		}
		// Behind a proxy any new entry must do.
		at := slices.IndexFunc(after[len(before):], func(from netip.AddrPort) bool {
			return !k.broker.engine.direct || int(from.Port()) == own
		})
		entry = len(before) + at
		return at >= 0, nil
	})
	return entry, err
}

// accepted reads the connections that the log tells of.
func (k *kafkaPeers) accepted() ([]netip.AddrPort, error) {
	file, err := os.Open(k.log)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // nothing was logged yet
	}
	if err != nil {
		return nil, fmt.Errorf("read peers: %w", err)
	}
	defer file.Close()
	var all []netip.AddrPort
	lines := bufio.NewReader(file)
	for {
		line, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return all, nil // what has no end yet is still being written
		}
		if err != nil {
			return nil, fmt.Errorf("read peers: %w", err)
		}
		if match := kafkaAccepted.FindStringSubmatch(line); match != nil {
			from, err := netip.ParseAddrPort(match[1])
			if err != nil {
				return nil, fmt.Errorf("read peers: %w", err)
			}
			all = append(all, from)
		}
	}
}
