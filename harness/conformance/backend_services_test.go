package conformance_test

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/stack"
)

// service is a program that answers HTTP on HTTP_ADDR until it is asked to stop, or told how to end.
var service = stack.Program{Name: "conformance-service", Main: func(ctx context.Context) int {
	if os.Getenv("BROKEN") != "" {
		fmt.Println("cannot start: no configuration")
		return 3
	}
	mux, told := http.NewServeMux(), make(chan int, 1)
	mux.HandleFunc("/pid", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, os.Getpid()) })
	mux.HandleFunc("/greeting", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, os.Getenv("GREETING")) })
	mux.HandleFunc("/exit", func(http.ResponseWriter, *http.Request) { told <- 7 })
	server := &http.Server{Addr: os.Getenv("HTTP_ADDR"), Handler: mux}
	served := make(chan error, 1)
	go func() { served <- server.ListenAndServe() }()
	fmt.Println("serving")
	select {
	case <-ctx.Done():
		_ = server.Close()
		<-served
		return 0
	case code := <-told:
		return code
	case err := <-served:
		fmt.Println(err)
		return 1
	}
}}

func (u *used) startService(t *testing.T, name string) (stack.Node, *stack.Port) {
	t.Helper()
	port, err := u.ReservePort(name)
	require.NoError(t, err)
	node, err := u.StartService(within(t, time.Minute), stack.Spec{
		Name: name, Program: service.Name, Env: []string{"HTTP_ADDR=" + port.Listen(), "GREETING=a=b"}, Ports: []*stack.Port{port},
		Ready: u.HTTPReady("http://" + port.Addr() + "/pid"),
	})
	require.NoError(t, err)
	return node, port
}

// get returns the body of an answer that comes in time.
func get(u *used, url string, limit time.Duration) (string, error) {
	transport := &http.Transport{DialContext: u.ObserverDial, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport, Timeout: limit}).Get(url)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

// services: programs of this binary run as the servers do. Those of a backend of containers run here too,
// unless it is told otherwise; that is tried last.
func services(t *testing.T, s *suite) {
	serves(t, s)
	if s.engine != nil {
		t.Run("in containers", servicesInContainers)
	}
}

func serves(t *testing.T, s *suite) {
	e := s.startWith(t, stack.Options{})
	node, port := e.startService(t, "shop-1")
	url := "http://" + port.Addr()
	answers := func() {
		t.Helper()
		body, err := get(e, url+"/greeting", patience)
		require.NoError(t, err)
		assert.Equal(t, "a=b", body)
		assert.Contains(t, e.LinkHosts(), e.ServiceHost())
	}
	answers()
	ctx := within(t, time.Minute)
	require.NoError(t, node.Pause(ctx))
	_, err := get(e, url+"/pid", moment)
	assert.True(t, os.IsTimeout(err), "%v", err)
	require.NoError(t, node.Resume(ctx))
	answers()
	require.NoError(t, node.Kill(ctx))
	_, err = get(e, url+"/pid", moment)
	assert.Error(t, err)
	require.NoError(t, node.Start(ctx))
	answers()
	require.NoError(t, node.Terminate(ctx))
	require.NoError(t, node.Start(ctx))
	answers()
	assert.Empty(t, e.UnexpectedExits())

	_, _ = get(e, url+"/exit", patience) // it ends before it answers
	require.Eventually(t, func() bool { return !node.Alive() }, patience, 5*time.Millisecond)
	assert.Equal(t, []string{
		"started", "ready", "paused", "resumed", "exited killed", "started", "ready", "exited 0", "started", "ready", "exited 7 unasked",
	}, e.lived("shop-1"))
	assert.Contains(t, node.LastLog(20), "serving")
	assert.Equal(t, filepath.Join(e.LogDir(), "shop-1.log"), node.LogPath())

	broken, err := e.StartService(ctx, stack.Spec{
		Name: "broken", Program: service.Name, Env: []string{"BROKEN=1"},
		Ready: func(context.Context) error { return errors.New("it never is") },
	})
	assert.ErrorContains(t, err, "cannot start: no configuration", "its log is quoted")
	require.NotNil(t, broken)
	assert.False(t, broken.Alive())
	assert.Equal(t, []string{"started", "exited 3 unasked"}, e.lived("broken"))
	var unexpected []string
	for _, exit := range e.UnexpectedExits() {
		assert.Equal(t, history.Exited, exit.State)
		unexpected = append(unexpected, fmt.Sprint(exit.Name, " ", exit.Code))
	}
	assert.Equal(t, []string{"shop-1 7", "broken 3"}, unexpected)
	_, err = e.StartService(ctx, stack.Spec{Name: "broken", Program: service.Name})
	assert.ErrorContains(t, err, "name is taken")
}

// servicesInContainers needs a binary that runs in an empty image. This one does not when it was built with cgo,
// as it is by default: then one that does is built of the same tests, and carries on.
func servicesInContainers(t *testing.T) {
	if runsAlone(t) {
		serveInContainers(t)
		return
	}
	binary := filepath.Join(t.TempDir(), "conformance.test")
	run := func(command ...string) string {
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, command[0], command[1:]...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		cmd.WaitDelay = 10 * time.Second
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s:\n%s", strings.Join(command, " "), out)
		return string(out)
	}
	run("go", "test", "-c", "-tags", "alone", "-o", binary, ".")
	began := time.Now()
	said := run(binary, "-test.v", "-test.run", "^TestServicesInContainers$", "-test.timeout", "2m")
	require.Contains(t, said, "--- PASS: TestServicesInContainers", "it ran")
	t.Logf("without building: %s", time.Since(began).Round(10*time.Millisecond))
}

func serveInContainers(t *testing.T) {
	b := openContainers(t, "", "container")
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	serves(t, &suite{Backend: b, pids: map[int]string{}})
}

// runsAlone says whether this binary needs no other file.
func runsAlone(t *testing.T) bool {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	binary, err := elf.Open(self)
	if err != nil {
		return false // not an executable for Linux
	}
	defer func() { _ = binary.Close() }()
	return !slices.ContainsFunc(binary.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
}
