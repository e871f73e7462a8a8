package harness

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/link"
)

// accepting is a server that tells which connections it accepted.
type accepting interface {
	Name() string
	Addr() string
	Peers() ([]int, error)
	Strangers() ([]string, error)
	PeersExact() bool
}

// bypass compares the connections that each server accepted with those that links to it and observers
// made.
func (x *experiment) bypass() ([]history.Probe, error) {
	var servers []accepting
	for _, postgres := range x.stack.PostgresServers() {
		servers = append(servers, postgres)
	}
	for _, broker := range x.stack.Brokers() {
		servers = append(servers, broker)
	}
	for _, cache := range x.stack.Caches() {
		servers = append(servers, cache)
	}
	slices.SortFunc(servers, func(a, b accepting) int { return strings.Compare(a.Name(), b.Name()) })
	var probes []history.Probe
	var errs []error
	for _, server := range servers {
		probe, err := judgeBypass(server, x.dialled(server))
		if err != nil {
			errs = append(errs, fmt.Errorf("list peers of %s: %w", server.Name(), err))
			continue
		}
		probes = append(probes, probe)
	}
	return probes, errors.Join(errs...)
}

// dialled are the connections that links to a server and observers made, until it is asked.
type dialled struct {
	uses  func(port int) int // from a local port, to whatever server
	total func() int         // to this server
}

// dialled counts what links to the server and observers did.
func (x *experiment) dialled(server accepting) dialled {
	var links []*link.Link
	for name, open := range x.links {
		if strings.HasSuffix(name, "->"+server.Name()) {
			links = append(links, open)
		}
	}
	observers, addr := x.stack.Observers(), server.Addr()
	return dialled{
		uses: func(port int) int {
			uses := observers.Uses(port)
			for _, open := range links {
				uses += open.Uses(port)
			}
			return uses
		},
		total: func() int {
			total := observers.Dials(addr)
			for _, open := range links {
				total += open.Dials(addr)
			}
			return total
		},
	}
}

// judgeBypass demands that nobody else reached the server: port by port and each as often as it was used or,
// where a proxy hides the ports, no more often than it was dialled.
func judgeBypass(server accepting, ours dialled) (history.Probe, error) {
	peers, err := server.Peers()
	if err != nil {
		return history.Probe{}, err
	}
	strangers, err := server.Strangers()
	if err != nil {
		return history.Probe{}, err
	}
	probe := history.Probe{Name: history.ProbeBypass, Subject: server.Name()}
	var detail []string
	unknown := 0
	if server.PeersExact() {
		accepted := map[int]int{}
		for _, port := range peers {
			accepted[port]++
			if accepted[port] > ours.uses(port) {
				unknown++
				detail = append(detail, fmt.Sprintf("a connection from local port %d", port))
			}
		}
	} else {
		total := ours.total()
		unknown = max(0, len(peers)-total)
		detail = append(detail, fmt.Sprintf("counted, for a proxy hides the ports: %d accepted, %d dialled", len(peers), total))
		if lost := total - len(peers); lost > 0 {
			detail = append(detail, fmt.Sprintf("%d dials ended at the proxy, and so many others would not be noticed", lost))
		}
	}
	if len(peers) == 0 {
		detail = append(detail, "no connection at all is known: the server's log is not whole")
	}
	probe.OK = unknown+len(strangers) == 0 && len(peers) > 0
	probe.Numbers = map[string]int64{"peers": int64(len(peers)), "strangers": int64(unknown + len(strangers))}
	probe.Detail = strings.Join(append(detail, strangers...), ", ")
	return probe, nil
}
