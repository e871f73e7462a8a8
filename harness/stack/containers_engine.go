package stack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"time"

	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	tclog "github.com/testcontainers/testcontainers-go/log"
	"golang.org/x/sync/errgroup"
)

// engine is one session at a container engine: the connection, and the labels of all that is made there.
type engine struct {
	provider *testcontainers.DockerProvider
	client   client.APIClient
	log      func(string)
	version  string // "Docker 20.10.24, API 1.41"
	// direct says that the addresses of containers can be reached from here: a local engine on Linux. Else
	// everything goes through published ports.
	direct bool
	host   string     // where published ports are reached
	bind   netip.Addr // what they are bound to
	session
}

// openEngine connects to the engine that the environment names, as Testcontainers does. Its errors are
// sentences that say what to do.
func openEngine(ctx context.Context, tell func(string)) (*engine, error) {
	if err := checkEngine(ctx); err != nil {
		return nil, err
	}
	s, err := openSession()
	if err != nil {
		return nil, err
	}
	g := &engine{log: tell, session: s}
	if err := g.connect(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("connect to the container engine: %w", err), s.end(true))
	}
	if err := g.sweep(ctx); err != nil {
		tell(fmt.Sprintf("could not remove what an earlier run left at the container engine: %v", err))
	}
	return g, nil
}

func (g *engine) connect(ctx context.Context) (err error) {
	if err := decideRyuk(ctx); err != nil {
		return err
	}
	quiet := log.New(io.Discard, "", 0)
	tclog.SetDefault(quiet)
	if g.provider, err = testcontainers.NewDockerProvider(testcontainers.WithLogger(quiet)); err != nil {
		return err
	}
	g.client = g.provider.Client()
	server, err := g.client.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		return err
	}
	g.version = engineVersion(server)
	return nil
}

// locate finds out how containers are reached from here. It comes before the first container.
func (g *engine) locate(ctx context.Context) (err error) {
	if g.direct, err = g.reachesContainers(ctx); err != nil {
		return fmt.Errorf("find out how to reach containers: %w", err)
	}
	g.host = localhost
	if !g.direct { // Testcontainers knows about machines that are containers themselves, and about remote ones
		if g.host, err = g.provider.DaemonHost(ctx); err != nil {
			return err
		}
	}
	g.bind, err = addressOf(ctx, g.host)
	return err
}

// engineVersion is what the engine is: "Docker 20.10.24, API 1.41".
func engineVersion(server client.ServerVersionResult) string {
	return fmt.Sprintf("%s %s, API %s", cmp.Or(server.Platform.Name, "Docker"), server.Version, server.APIVersion)
}

// callTimeout bounds one call of an engine that should take milliseconds.
const callTimeout = 30 * time.Second

// whole returns the context of a call that makes something: one that is given up half-way may be carried out all the
// same, after everything else was removed.
func whole(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
}

// bounded returns the context of a call to an engine that may have stopped answering.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, callTimeout, fmt.Errorf("the container engine did not answer within %s", callTimeout))
}

// addressOf resolves the host to one IPv4 address.
func addressOf(ctx context.Context, host string) (netip.Addr, error) {
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", host)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find address of the container engine's host: %w", err)
	}
	return found[0].Unmap(), nil
}

// reachesContainers says whether networks of the engine are interfaces of this machine. That the engine answers on a
// local socket does not say so: the socket may be forwarded, or mounted into a container. And a subnet that looks
// right may be another engine's.
func (g *engine) reachesContainers(ctx context.Context) (bool, error) {
	if runtime.GOOS != "linux" || !strings.HasPrefix(g.client.DaemonHost(), "unix:") {
		return false, nil
	}
	ctx, cancel := whole(ctx)
	defer cancel()
	probe, err := g.client.NetworkCreate(ctx, g.name("probe"), client.NetworkCreateOptions{Driver: "bridge", Labels: g.labelled()})
	if err != nil {
		return false, fmt.Errorf("make a network: %w", err)
	}
	const shown = 12 // of the id, as Docker names the interface
	_, missing := net.InterfaceByName("br-" + probe.ID[:shown])
	_, err = g.client.NetworkRemove(ctx, probe.ID, client.NetworkRemoveOptions{})
	return missing == nil, unlessGone(err)
}

// labelled returns the session's labels with those that Testcontainers and its reaper want.
func (g *engine) labelled() map[string]string {
	all := testcontainers.GenericLabels()
	maps.Copy(all, g.labels)
	return all
}

// name is the engine-wide name of something of this session.
func (g *engine) name(of string) string { return "ordeal-" + g.id + "-" + of }

// close removes what is left of the session and ends it.
func (g *engine) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	err := removeSession(ctx, g.client, g.id)
	if err == nil && g.unguard != nil {
		err = g.unguard()
	}
	return errors.Join(err, g.end(err == nil), g.client.Close())
}

// removeSession removes all containers, networks, volumes and images of a session.
func removeSession(ctx context.Context, api client.APIClient, id string) error {
	mine := make(client.Filters).Add("label", sessionLabel+"="+id)
	containers, err := api.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: mine})
	if err != nil {
		return fmt.Errorf("list containers of session %s: %w", id, err)
	}
	var group errgroup.Group
	for _, c := range containers.Items {
		group.Go(func() error { return removeContainer(ctx, api, c.ID) })
	}
	errs := []error{group.Wait()}
	networks, err := api.NetworkList(ctx, client.NetworkListOptions{Filters: mine})
	errs = append(errs, err)
	for _, n := range networks.Items {
		_, err := api.NetworkRemove(ctx, n.ID, client.NetworkRemoveOptions{})
		errs = append(errs, unlessGone(err))
	}
	volumes, err := api.VolumeList(ctx, client.VolumeListOptions{Filters: mine})
	errs = append(errs, err)
	for _, v := range volumes.Items {
		_, err := api.VolumeRemove(ctx, v.Name, client.VolumeRemoveOptions{Force: true})
		errs = append(errs, unlessGone(err))
	}
	images, err := api.ImageList(ctx, client.ImageListOptions{Filters: mine})
	errs = append(errs, err)
	for _, i := range images.Items {
		_, err := api.ImageRemove(ctx, i.ID, client.ImageRemoveOptions{Force: true})
		errs = append(errs, unlessGone(err))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove session %s: %w", id, err)
	}
	return nil
}
