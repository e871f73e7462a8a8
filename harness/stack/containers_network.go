package stack

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/containerd/errdefs"
	mobynetwork "github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
)

// network is a bridge network with a subnet of its own, so that containers keep their addresses.
type network struct {
	engine  *engine
	id      string
	name    string
	subnet  netip.Prefix
	gateway netip.Addr
}

// attempts bounds how often a network is made anew when another one took its subnet meanwhile.
const attempts = 5

// network makes a bridge network. An internal one has no way out, nor one in from this machine.
func (g *engine) network(ctx context.Context, name string, internal bool) (*network, error) {
	n := &network{engine: g, name: g.name(name)}
	for attempt := 1; ; attempt++ {
		err := n.make(ctx, internal)
		if err == nil {
			return n, nil
		}
		if attempt == attempts || !strings.Contains(err.Error(), "overlap") {
			return nil, fmt.Errorf("make network %s: %w", n.name, err)
		}
	}
}

// make lets the engine choose a free subnet and then asks for it by name: only in a subnet that was asked
// for may containers have addresses of our choice.
func (n *network) make(ctx context.Context, internal bool) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	ctx, cancel := whole(ctx)
	defer cancel()
	options := client.NetworkCreateOptions{Driver: "bridge", Internal: internal, Labels: n.engine.labelled()}
	api := n.engine.client
	chosen, err := api.NetworkCreate(ctx, n.name, options)
	if err != nil {
		return err
	}
	seen, err := api.NetworkInspect(ctx, chosen.ID, client.NetworkInspectOptions{})
	if _, removing := api.NetworkRemove(ctx, chosen.ID, client.NetworkRemoveOptions{}); err == nil {
		err = removing
	}
	if err != nil {
		return err
	}
	for _, config := range seen.Network.IPAM.Config {
		if config.Subnet.Addr().Is4() {
			n.subnet, n.gateway = config.Subnet, config.Subnet.Masked().Addr().Next()
		}
	}
	if !n.subnet.IsValid() {
		return errors.New("the engine gave it no IPv4 subnet")
	}
	options.IPAM = &mobynetwork.IPAM{Config: []mobynetwork.IPAMConfig{{Subnet: n.subnet, Gateway: n.gateway}}}
	made, err := api.NetworkCreate(ctx, n.name, options)
	n.id = made.ID
	return err
}

// address is the n-th address of the network; 1 is the gateway's.
func (n *network) address(number int) netip.Addr {
	at := n.subnet.Masked().Addr()
	for range number {
		at = at.Next()
	}
	return at
}

// connect attaches a container.
func (n *network) connect(ctx context.Context, id string, at attachment) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	_, err := n.engine.client.NetworkConnect(ctx, n.id, client.NetworkConnectOptions{Container: id, EndpointConfig: at.endpoint()})
	if err != nil {
		return fmt.Errorf("connect to network %s: %w", n.name, err)
	}
	return nil
}

// disconnect detaches a container; its connections in this network are cut.
func (n *network) disconnect(ctx context.Context, id string) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	_, err := n.engine.client.NetworkDisconnect(ctx, n.id, client.NetworkDisconnectOptions{Container: id, Force: true})
	if err != nil {
		return fmt.Errorf("disconnect from network %s: %w", n.name, err)
	}
	return nil
}

// remove removes the network, which must have no containers.
func (n *network) remove(ctx context.Context) error {
	_, err := n.engine.client.NetworkRemove(ctx, n.id, client.NetworkRemoveOptions{})
	if err := unlessGone(err); err != nil {
		return fmt.Errorf("remove network %s: %w", n.name, err)
	}
	return nil
}

// attachment is a container's place in a network.
type attachment struct {
	network *network
	address netip.Addr
	aliases []string
}

func (a attachment) endpoint() *mobynetwork.EndpointSettings {
	return &mobynetwork.EndpointSettings{
		NetworkID: a.network.id, Aliases: a.aliases,
		IPAMConfig: &mobynetwork.EndpointIPAMConfig{IPv4Address: a.address},
	}
}

// unlessGone drops the error of removing what is not there, or is being removed by another.
func unlessGone(err error) error {
	if err == nil || errdefs.IsNotFound(err) || errdefs.IsConflict(err) && strings.Contains(err.Error(), "already in progress") {
		return nil
	}
	return err
}
