package stack

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// buildService builds the program of testdata/service for this machine.
func buildService(t *testing.T, env ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "service")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", path, "./testdata/service")
	build.Env = append(os.Environ(), append([]string{"GOOS=linux", "CGO_ENABLED=0"}, env...)...)
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	return path
}

func answerOf(t *testing.T, e *Environment, url string) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DialContext: e.ObserverDial, DisableKeepAlives: true}, Timeout: 10 * time.Second}
	response, err := client.Get(url)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return string(body)
}

func TestServiceInAContainer(t *testing.T) {
	b := newContainers(t, ContainersConfig{})
	var err error
	b.serviceImage, err = b.engine.serviceImage(t.Context(), buildService(t))
	require.NoError(t, err)
	seen := &events{}
	e, err := b.New(t.Context(), Options{Dir: t.TempDir(), Record: seen.record})
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close(t.Context())) }()

	t.Setenv("SECRET_OF_THE_HARNESS", "1")
	port, err := e.ReservePort("order")
	require.NoError(t, err)
	spec := Spec{
		Name: "order", Program: "serve", Env: []string{"HTTP_ADDR=" + port.Listen(), "A=b=c"}, Ports: []*Port{port},
		Ready: e.HTTPReady("http://" + port.Addr() + "/env"),
	}
	node, err := e.StartService(t.Context(), spec)
	require.NoError(t, err)
	environment := strings.Split(answerOf(t, e, "http://"+port.Addr()+"/env"), "\n")
	assert.Contains(t, environment, "A=b=c")
	assert.NotContains(t, strings.Join(environment, "\n"), "SECRET_OF_THE_HARNESS")

	// A link listens where services reach it.
	require.Contains(t, e.LinkHosts(), e.ServiceHost())
	require.Contains(t, e.LinkHosts(), "127.0.0.1")
	link, err := net.Listen("tcp", net.JoinHostPort(e.ServiceHost(), "0"))
	require.NoError(t, err)
	defer link.Close()
	go func() {
		conn, err := link.Accept()
		if err == nil {
			_, _ = io.WriteString(conn, "a link")
			_ = conn.Close()
		}
	}()
	assert.Equal(t, "a link", answerOf(t, e, "http://"+port.Addr()+"/dial?to="+link.Addr().String()))

	require.NoError(t, node.Kill(t.Context()))
	require.NoError(t, node.Start(t.Context()))
	assert.Contains(t, answerOf(t, e, "http://"+port.Addr()+"/env"), "A=b=c", "under the same address")
	require.NoError(t, node.Terminate(t.Context()))
	assert.Equal(t, []string{"started", "ready", "exited killed", "started", "ready", "exited 0"}, seen.of("order"))
	assert.Empty(t, e.UnexpectedExits())
	assert.Contains(t, node.LastLog(10), "serving")

	other, err := e.ReservePort("stock")
	require.NoError(t, err)
	assert.NotEqual(t, port.Addr(), other.Addr())

	// What goes wrong is told as it is of processes.
	_, err = e.StartService(t.Context(), Spec{Name: "broken", Program: "broken", Ready: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }})
	assert.ErrorContains(t, err, "cannot start: no configuration")
	assert.Equal(t, []string{"started", "exited 3"}, seen.of("broken"))
	require.Len(t, e.UnexpectedExits(), 1)
	_, err = e.StartService(t.Context(), Spec{Name: "shell", Command: []string{"sh"}})
	assert.ErrorContains(t, err, "a command cannot run in a container")
	_, err = e.StartService(t.Context(), spec)
	assert.ErrorContains(t, err, "name is taken")
}

func TestServicesNeedABinaryThatRunsAlone(t *testing.T) {
	assert.NoError(t, runsAlone(buildService(t), runtime.GOARCH))
	other := map[bool]string{true: "arm64", false: "amd64"}[runtime.GOARCH == "amd64"]
	assert.ErrorContains(t, runsAlone(buildService(t), other), "build it with GOARCH="+other)
	text := filepath.Join(t.TempDir(), "text")
	require.NoError(t, os.WriteFile(text, []byte("#!/bin/sh"), 0o755))
	assert.ErrorContains(t, runsAlone(text, runtime.GOARCH), "not an executable for Linux")
	shell, err := exec.LookPath("sh")
	require.NoError(t, err)
	if runtime.GOOS == "linux" {
		assert.ErrorContains(t, runsAlone(shell, runtime.GOARCH), "CGO_ENABLED=0")
	}
}

func TestContainersAreConfiguredRight(t *testing.T) {
	for name, config := range map[string]ContainersConfig{
		`no Kafka profile "slow"; there are default and fast`: {KafkaProfile: "slow"},
		`services run as process or container, not "pod"`:     {Services: "pod"},
	} {
		_, err := NewContainers(t.Context(), config)
		assert.ErrorContains(t, err, name)
	}
}
