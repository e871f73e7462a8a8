package stack

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fakeEngine answers on a socket, and returns its address.
func fakeEngine(t *testing.T, api string, rest http.Handler) (address string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "docker.sock")
	listener, err := net.Listen("unix", path)
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.HandleFunc("/_ping", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Api-Version", api)
		_, _ = fmt.Fprint(w, "OK")
	})
	if rest != nil {
		mux.Handle("/", rest)
	}
	server := &http.Server{Handler: mux}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		require.NoError(t, server.Close())
		<-done
	})
	return "unix://" + path
}

// oneSentence checks what every user meets: what was tried, why it failed, and what to do.
func oneSentence(t *testing.T, err error, parts ...string) {
	t.Helper()
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "\n")
	for _, part := range parts {
		assert.ErrorContains(t, err, part)
	}
	var without unavailable
	assert.ErrorAs(t, err, &without, "the choice auto may go on without containers")
}

func TestOpenSaysThatNoEngineAnswers(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "none.sock")
	_, err := dialEngine(t.Context(), "unix://"+socket)
	oneSentence(t, err, "reach container engine at unix://"+socket+": no such file or directory; ", "systemctl start docker", "DOCKER_HOST", "--backend embedded, which needs none")
	assert.ErrorIs(t, err, fs.ErrNotExist)

	closed, err := ReservePort()
	require.NoError(t, err)
	defer closed.Close()
	_, err = dialEngine(t.Context(), "tcp://"+closed.Addr())
	oneSentence(t, err, "reach container engine at tcp://"+closed.Addr()+": ")

	_, err = dialEngine(t.Context(), "ssh://me@elsewhere")
	oneSentence(t, err, "ssh://me@elsewhere", "ssh -NL")
	_, err = dialEngine(t.Context(), "nonsense")
	oneSentence(t, err, "reach container engine at nonsense")
}

func TestOpenDoesNotWaitForAnEngineThatHangs(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "docker.sock"))
	require.NoError(t, err)
	defer listener.Close()
	began := time.Now()
	_, err = dialEngine(t.Context(), "unix://"+listener.Addr().String())
	oneSentence(t, err, "no answer in time")
	assert.Less(t, time.Since(began), 2*engineTimeout)

	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, assert.AnError)
	defer cancel()
	_, err = dialEngine(ctx, "unix://"+listener.Addr().String())
	assert.ErrorIs(t, err, assert.AnError, "the caller's own end is not the engine's fault")
	var without unavailable
	assert.NotErrorAs(t, err, &without)
}

// checkEngineProgram tells what an ordinary user is told.
func checkEngineProgram(ctx context.Context) int {
	if err := checkEngine(ctx); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func TestOpenSaysThatTheSocketIsClosedToTheUser(t *testing.T) {
	address := fakeEngine(t, "1.41", nil)
	socket := strings.TrimPrefix(address, "unix://")
	require.NoError(t, os.Chmod(socket, 0))
	var text string
	if os.Getuid() != 0 {
		_, err := dialEngine(t.Context(), address)
		oneSentence(t, err)
		text = err.Error()
	} else { // to whom nothing is closed: asked as another
		for dir := filepath.Dir(socket); dir != os.TempDir(); dir = filepath.Dir(dir) {
			require.NoError(t, os.Chmod(dir, 0o755))
		}
		_, program, err := programCommand("test-check-engine")
		require.NoError(t, err)
		cmd := exec.Command("/proc/self/exe") // the binary's own folder may be closed
		cmd.Dir = "/"
		cmd.Env = environ(append(program, client.EnvOverrideHost+"="+address)...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.Output()
		require.Error(t, err)
		text = string(out)
	}
	for _, part := range []string{"reach container engine at " + address + ": permission denied; ", "usermod -aG docker", "sudo", "DOCKER_HOST"} {
		assert.Contains(t, text, part)
	}
}

func TestOpenSaysThatTheEngineIsTooOld(t *testing.T) {
	for _, api := range []string{"1.24", "1.39", "1.40"} {
		_, err := dialEngine(t.Context(), fakeEngine(t, api, nil))
		oneSentence(t, err, "it speaks API "+api+" and 1.41 is needed", "Docker 20.10", "--backend embedded")
	}
	for _, api := range []string{"1.41", "1.56", "1.99"} {
		c, err := dialEngine(t.Context(), fakeEngine(t, api, nil))
		require.NoError(t, err)
		assert.Equal(t, api, c.api)
		require.NoError(t, c.Close())
	}
}

// library is an engine's images: those that it has, and what a pull says.
type library struct {
	has  []string
	pull func(http.ResponseWriter, *http.Request)
}

func (l library) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/images/create") {
		l.pull(w, r)
		return
	}
	for _, name := range l.has {
		if strings.HasSuffix(r.URL.Path, "/images/"+name+"/json") {
			_, _ = fmt.Fprintf(w, `{"Id":"sha256:%064d"}`, len(name))
			return
		}
	}
	w.WriteHeader(http.StatusNotFound)
	_, _ = fmt.Fprint(w, `{"message":"No such image"}`)
}

func TestImagesAreFound(t *testing.T) {
	refuse := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = fmt.Fprint(w, `{"message":"Get \"https://registry.invalid/v2/\": dial tcp: lookup registry.invalid: no such host"}`)
	}
	missing := func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, `{"status":"Pulling"}`+"\n"+`{"errorDetail":{"message":"manifest unknown"},"error":"manifest unknown"}`+"\n")
	}
	official, recipe := postgresImage.official, postgresImage.recipe
	for name, test := range map[string]struct {
		named string
		library
		want string
		says []string
	}{
		"named":             {named: "mine:1", library: library{has: []string{"mine:1", official, recipe}}, want: "mine:1"},
		"official":          {library: library{has: []string{official, recipe}}, want: official},
		"recipe":            {library: library{has: []string{recipe}}, want: recipe},
		"no registry":       {library: library{pull: refuse}, says: []string{"get image " + official + ": ", "(dial tcp: lookup registry.invalid: no such host); ", "make images", "--postgres-image", "ORDEAL_POSTGRES_IMAGE"}},
		"named and unknown": {named: "mine:2", library: library{has: []string{official, recipe}, pull: missing}, says: []string{"get image mine:2: ", "(manifest unknown)", "--postgres-image"}},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := dialEngine(t.Context(), fakeEngine(t, "1.41", test.library))
			require.NoError(t, err)
			defer c.Close()
			found, err := postgresImage.find(t.Context(), c, test.named, func(string) {})
			if test.want == "" {
				oneSentence(t, err, test.says...)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, test.want, found.name)
			assert.Contains(t, found.String(), test.want+" (sha256:0000")
		})
	}
}

func TestImageIsPulledWhereThereIsNone(t *testing.T) {
	l := &library{}
	l.pull = func(w http.ResponseWriter, _ *http.Request) {
		l.has = []string{kafkaImage.official}
		_, _ = fmt.Fprintln(w, `{"status":"Pull complete"}`)
	}
	c, err := dialEngine(t.Context(), fakeEngine(t, "1.41", l))
	require.NoError(t, err)
	defer c.Close()
	var told []string
	found, err := kafkaImage.find(t.Context(), c, "", func(line string) { told = append(told, line) })
	require.NoError(t, err)
	assert.Equal(t, kafkaImage.official, found.name)
	assert.Equal(t, []string{"pulling image " + kafkaImage.official}, told)
}

func TestPullEndsWhenItStalls(t *testing.T) {
	for name, pull := range map[string]http.HandlerFunc{
		"at once": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"midway": func(w http.ResponseWriter, r *http.Request) {
			_, _ = fmt.Fprintln(w, `{"status":"Downloading"}`)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := dialEngine(t.Context(), fakeEngine(t, "1.41", library{pull: pull}))
			require.NoError(t, err)
			defer c.Close()
			began := time.Now()
			assert.EqualError(t, pullImage(t.Context(), c, "mine:1", 200*time.Millisecond), "no progress for 200ms")
			assert.Less(t, time.Since(began), 10*time.Second)
		})
	}
}

func TestRealEngineSaysThatAnImageCannotBePulled(t *testing.T) {
	c, _ := needEngine(t)
	began := time.Now()
	_, err := kafkaImage.find(t.Context(), c, "localhost:1/ordeal/none:1", func(string) {})
	oneSentence(t, err, "get image localhost:1/ordeal/none:1: ", "--kafka-image", "ORDEAL_KAFKA_IMAGE")
	t.Log(err)
	assert.Less(t, time.Since(began), 20*time.Second)
}

func TestRemoteEngineRefusesServicesInContainers(t *testing.T) {
	err := remoteServices("tcp://192.0.2.1:2376")
	assert.ErrorContains(t, err, "tcp://192.0.2.1:2376")
	assert.ErrorContains(t, err, "use --services process")
}

func TestEngineAddress(t *testing.T) {
	t.Setenv(client.EnvOverrideHost, "tcp://192.0.2.1:2375")
	assert.Equal(t, "tcp://192.0.2.1:2375", engineAddress())
	t.Setenv(client.EnvOverrideHost, "")
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_RUNTIME_DIR", filepath.Join(home, "run"))
	if _, err := os.Stat("/var/run/docker.sock"); err == nil {
		assert.Equal(t, client.DefaultDockerHost, engineAddress())
		return
	}
	assert.Equal(t, client.DefaultDockerHost, engineAddress(), "what the message names when there is none")
	require.NoError(t, os.Mkdir(filepath.Join(home, "run"), 0o755))
	rootless := filepath.Join(home, "run", "docker.sock")
	require.NoError(t, os.WriteFile(rootless, nil, 0o600))
	assert.Equal(t, "unix://"+rootless, engineAddress())
}
