package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fakeEngine answers on a socket as a container engine that has nothing and can pull nothing.
type fakeEngine struct {
	api string // its API version
}

func (e fakeEngine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Api-Version", e.api)
	w.Header().Set("Content-Type", "application/json")
	path := r.URL.Path
	if rest, versioned := strings.CutPrefix(path, "/v"+e.api); versioned {
		path = rest
	}
	answer := func(code int, body any) {
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(body) // a client that has gone needs none
	}
	type object = map[string]any
	switch path {
	case "/_ping":
		_, _ = w.Write([]byte("OK"))
	case "/version":
		answer(http.StatusOK, object{"Version": "20.10.0", "ApiVersion": e.api, "MinAPIVersion": "1.12", "Os": "linux"})
	case "/info":
		answer(http.StatusOK, object{"ServerVersion": "20.10.0", "OperatingSystem": "none", "OSType": "linux"})
	case "/networks":
		answer(http.StatusOK, []object{{"Name": "bridge", "Id": "0"}})
	case "/containers/json", "/images/json":
		answer(http.StatusOK, []object{})
	case "/volumes":
		answer(http.StatusOK, object{"Volumes": []object{}})
	case "/images/create":
		answer(http.StatusInternalServerError, object{"message": "Get \"https://registry.invalid/v2/\": no route to host"})
	default: // images and networks by name
		answer(http.StatusNotFound, object{"message": "no such thing: " + path})
	}
}

// serve listens on a socket of the site, and answers with the handler; nil never answers.
func (s site) serve(t *testing.T, name string, handler http.Handler) (path string) {
	t.Helper()
	path = filepath.Join(filepath.Dir(s.tmp), name)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", path)
	require.NoError(t, err)
	require.NoError(t, os.Chmod(path, 0o777), "the command may run as another user")
	if handler == nil {
		t.Cleanup(func() { require.NoError(t, listener.Close()) })
		return path
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		require.NoError(t, server.Close())
		require.ErrorIs(t, <-done, http.ErrServerClosed)
	})
	return path
}

// An engine that cannot be used is one sentence that says what to do, and nothing is left behind.
func TestEngineErrors(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		host func(t *testing.T, s site) string
		want []string
	}{
		"no engine": {
			func(_ *testing.T, s site) string { return "unix://" + filepath.Join(s.tmp, "none.sock") },
			[]string{"no such file", "start one", "DOCKER_HOST", "--backend embedded"},
		},
		"nothing at the port": {
			func(*testing.T, site) string { return "tcp://127.0.0.1:1" },
			[]string{"tcp://127.0.0.1:1", "start one", "--backend embedded"},
		},
		"silence": {
			func(t *testing.T, s site) string { return "unix://" + s.serve(t, "silent.sock", nil) },
			[]string{"no answer in time"},
		},
		"no permission": {
			func(t *testing.T, s site) string {
				path := s.serve(t, "closed.sock", fakeEngine{api: "1.41"})
				require.NoError(t, os.Chmod(path, 0))
				return "unix://" + path
			},
			[]string{"permission denied", "join its group", "--backend embedded"},
		},
		"too old": {
			func(t *testing.T, s site) string { return "unix://" + s.serve(t, "old.sock", fakeEngine{api: "1.39"}) },
			[]string{"1.39", "1.41 is needed", "Docker 20.10"},
		},
		"no image": {
			func(t *testing.T, s site) string { return "unix://" + s.serve(t, "bare.sock", fakeEngine{api: "1.41"}) },
			[]string{"apache/kafka:4.4.0", "no route to host", "make images", "--kafka-image", "ORDEAL_KAFKA_IMAGE"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.unprivileged(t)
			s.env = append(s.env, "DOCKER_HOST="+test.host(t, s))
			began := time.Now()
			run := s.run(t, "run", "calm", "--backend", containers, "--out", s.out)
			run.requireCode(t, exitHarness)
			require.Less(t, time.Since(began), 10*time.Second)
			require.Empty(t, run.stdout.String())
			said := lastLine(run.stderr.String())
			require.True(t, strings.HasPrefix(said, "ordeal: "), run.stderr.String())
			require.Equal(t, 1, strings.Count(run.stderr.String(), "ordeal: "), "one sentence: %s", run.stderr.String())
			for _, want := range test.want {
				require.Contains(t, said, want)
			}
			require.NoDirExists(t, filepath.Join(s.out, "calm"))
		})
	}
}

// unprivileged makes the command run as somebody whom permissions hold for, and gives them the site.
func (s *site) unprivileged(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		return
	}
	const nobody = 65534
	s.as = &syscall.Credential{Uid: nobody, Gid: nobody}
	s.env = append(s.env, "HOME="+s.tmp, "ORDEAL_CACHE="+filepath.Join(filepath.Dir(s.tmp), "cache"))
	base := filepath.Dir(s.tmp)
	require.NoError(t, filepath.WalkDir(base, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Chown(path, nobody, nobody))
	}))
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return lines[len(lines)-1]
}

// auto falls back, and says so.
func TestAutoWithoutAnEngine(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.env = []string{"DOCKER_HOST=unix://" + filepath.Join(s.tmp, "none.sock")}
	run := s.run(t, "run", "calm", "--backend", auto, "--json", "--out", s.out)
	run.requireCode(t, exitPass)
	require.Equal(t, embedded, decode(t, run.stdout.String()).Backend)
	require.Regexp(t, `(?m)^\S+ .*embedded.*no such file`, run.stderr.String(), "which, and why")
}
