package stack

import (
	"archive/tar"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/moby/moby/client"
)

const (
	// firstService is the number of the first service's address in the network of clients; servers have
	// lower ones.
	firstService = 101
	// servicePort is the first port of each service.
	servicePort = 8080
	// serviceBinary is where the image of services has this binary.
	serviceBinary = "/ordeal"
)

// serviceImage makes the image of services: the binary and nothing else. It goes with the session.
func (g *engine) serviceImage(ctx context.Context, binary string) (name string, err error) {
	server, err := g.client.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		return "", fmt.Errorf("run services in containers: %w", err)
	}
	if err := runsAlone(binary, server.Arch); err != nil {
		return "", fmt.Errorf("run services in containers: %w", err)
	}
	changes := []string{fmt.Sprintf("ENTRYPOINT [%q]", serviceBinary)}
	for label, value := range g.labels {
		changes = append(changes, fmt.Sprintf("LABEL %s=%q", label, value))
	}
	// The archive is written while the engine reads it; it ends with the reader.
	archive, writing := io.Pipe()
	var writer sync.WaitGroup
	writer.Go(func() { writing.CloseWithError(archiveBinary(writing, binary)) })
	defer writer.Wait()
	defer func() { _ = archive.Close() }()
	name = "ordeal-service:" + g.id
	source := client.ImageImportSource{Source: archive, SourceName: "-"}
	answer, err := g.client.ImageImport(ctx, source, name, client.ImageImportOptions{Changes: changes})
	if err != nil {
		return "", fmt.Errorf("make image of services: %w", err)
	}
	defer answer.Close()
	if _, err := io.Copy(io.Discard, answer); err != nil {
		return "", fmt.Errorf("make image of services: %w", err)
	}
	if _, err := inspectImage(ctx, g.client, name); err != nil {
		return "", fmt.Errorf("make image of services: %w", err)
	}
	return name, nil
}

// machines are the architectures as engines and executables name them.
var machines = map[string]elf.Machine{
	"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64, "ppc64le": elf.EM_PPC64, "s390x": elf.EM_S390, "riscv64": elf.EM_RISCV,
}

// runsAlone says whether an executable runs on the architecture where there is no other file.
func runsAlone(path, architecture string) error {
	binary, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("%s is not an executable for Linux: build it with GOOS=linux CGO_ENABLED=0", path)
	}
	defer func() { _ = binary.Close() }()
	if binary.Machine != machines[architecture] {
		return fmt.Errorf("%s is for %s and the container engine for %s: build it with GOARCH=%s CGO_ENABLED=0",
			path, binary.Machine, architecture, architecture)
	}
	if slices.ContainsFunc(binary.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		return fmt.Errorf("%s needs libraries that an empty image does not have: build it with CGO_ENABLED=0", path)
	}
	return nil
}

// archiveBinary writes the file tree of the image of services.
func archiveBinary(to io.Writer, path string) error {
	binary, err := os.Open(path)
	if err != nil {
		return err
	}
	defer binary.Close()
	info, err := binary.Stat()
	if err != nil {
		return err
	}
	tree := tar.NewWriter(to)
	for _, header := range []tar.Header{
		{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777},
		{Name: strings.TrimPrefix(serviceBinary, "/"), Typeflag: tar.TypeReg, Mode: 0o755, Size: info.Size()},
	} {
		if err := tree.WriteHeader(&header); err != nil {
			return err
		}
	}
	if _, err := io.Copy(tree, binary); err != nil {
		return err
	}
	return tree.Close()
}

// serviceContainers makes the services of one environment.
type serviceContainers struct {
	engine  *engine
	image   string
	on      *network
	number  func() int
	logPath func(service string) string
	record  recorder

	mu       sync.Mutex
	hosts    map[string]int // number of a service's address
	reserved map[string]int // how many ports a service has
}

// containServices makes an environment run its services in containers.
func (b *containers) containServices(e *Environment, on *network) {
	s := &serviceContainers{
		engine: b.engine, image: b.serviceImage, on: on, number: b.number, logPath: e.logPath, record: e.record,
		hosts: map[string]int{}, reserved: map[string]int{},
	}
	e.serve, e.reserve = s.describe, s.reserve
	e.linkHosts = []string{localhost, on.gateway.String()}
	e.serviceHost = on.gateway.String()
}

// host returns the number of the service's address, the same one each time.
func (s *serviceContainers) host(service string) int {
	if _, ok := s.hosts[service]; !ok {
		s.hosts[service] = firstService + len(s.hosts)
	}
	return s.hosts[service]
}

// reserve returns a port at the address of the service.
func (s *serviceContainers) reserve(service string) *Port {
	s.mu.Lock()
	defer s.mu.Unlock()
	port := containerPort(s.on.address(s.host(service)).String(), servicePort+s.reserved[service])
	s.reserved[service]++
	return port
}

func (s *serviceContainers) describe(spec Spec) (server, error) {
	if spec.Program == "" {
		return nil, errors.New("a command cannot run in a container: only programs of this binary can; run services as processes")
	}
	if spec.Dir != "" {
		return nil, errors.New("a service in a container has no working directory of this machine")
	}
	env := map[string]string{ProgramEnv: spec.Program}
	for _, setting := range spec.Env {
		name, value, _ := strings.Cut(setting, "=")
		env[name] = value
	}
	var ports []int
	for _, port := range spec.Ports {
		ports = append(ports, port.Number())
	}
	s.mu.Lock()
	address := s.on.address(s.host(spec.Name))
	s.mu.Unlock()
	c := s.engine.container(containerSpec{
		name: fmt.Sprintf("%d-%s", s.number(), spec.Name), event: spec.Name, image: s.image, env: env,
		at: []attachment{{network: s.on, address: address}}, ports: ports,
		ready: spec.Ready, readyTimeout: spec.ReadyTimeout, grace: spec.Grace,
	})
	c.lend(s.logPath(spec.Name), s.record)
	return c, nil
}
