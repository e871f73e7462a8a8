package stack

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/moby/moby/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestChoiceIsCheckedBeforeAnythingStarts(t *testing.T) {
	for _, test := range []struct {
		choice Choice
		says   string
	}{
		{Choice{Backend: "docker"}, `no such choice: backend "docker"; there are embedded, containers, auto`},
		{Choice{Backend: "containers", KafkaProfile: "slow"}, `no such choice: Kafka profile "slow"; there are default, fast`},
		{Choice{Backend: "auto", Services: "pods"}, `no such choice: services "pods"; there are process, container`},
		{Choice{Services: "container"}, "no such choice: services as containers need the backend containers"},
		{Choice{Backend: "embedded", Services: "container"}, "no such choice: services as containers need the backend containers"},
	} {
		_, err := Open(t.Context(), test.choice)
		assert.ErrorIs(t, err, ErrChoice)
		assert.EqualError(t, err, test.says)
	}
	assert.Empty(t, children(t))
}

func TestChoiceFromEnv(t *testing.T) {
	for _, name := range []string{BackendEnv, KafkaImageEnv, PostgresImageEnv, KafkaProfileEnv, ServicesEnv} {
		t.Setenv(name, "")
	}
	usual, err := ChoiceFromEnv()
	require.NoError(t, err)
	assert.Equal(t, Choice{Backend: "embedded", KafkaProfile: "fast", Services: "process"}, usual)
	t.Setenv(BackendEnv, "auto")
	t.Setenv(KafkaImageEnv, "kafka:1")
	t.Setenv(PostgresImageEnv, "postgres:1")
	t.Setenv(KafkaProfileEnv, "default")
	t.Setenv(ServicesEnv, "container")
	all, err := ChoiceFromEnv()
	require.NoError(t, err)
	assert.Equal(t, Choice{Backend: "auto", KafkaImage: "kafka:1", PostgresImage: "postgres:1", KafkaProfile: "default", Services: "container"}, all)
	t.Setenv(BackendEnv, "podman")
	_, err = ChoiceFromEnv()
	assert.ErrorIs(t, err, ErrChoice)
	assert.ErrorContains(t, err, `"podman"; there are embedded, containers, auto`)
}

// leavesNothing fails the test if anything is left of a backend that did not open.
func leavesNothing(t *testing.T, open func(cache, temp string)) {
	t.Helper()
	// The folders of t.TempDir are closed to the account that Postgres would run as.
	folder, err := os.MkdirTemp("", "ordeal-choice-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(folder)) })
	require.NoError(t, os.Chmod(folder, 0o755))
	cache, temp := filepath.Join(folder, "cache"), filepath.Join(folder, "tmp")
	require.NoError(t, os.Mkdir(temp, 0o755))
	t.Setenv(CacheEnv, cache)
	open(cache, temp)
	left, err := os.ReadDir(temp)
	require.NoError(t, err)
	assert.Empty(t, left)
	locks, err := filepath.Glob(filepath.Join(cache, "session-*"))
	require.NoError(t, err)
	assert.Empty(t, locks)
	assert.Empty(t, children(t))
}

func TestContainersWithoutEngineLeaveNothing(t *testing.T) {
	addresses := map[string]string{
		"none":    "unix://" + filepath.Join(t.TempDir(), "none.sock"),
		"too old": fakeEngine(t, "1.39", nil),
		"ssh":     "ssh://me@elsewhere",
	}
	for name, address := range addresses {
		t.Run(name, func(t *testing.T) {
			t.Setenv(client.EnvOverrideHost, address)
			leavesNothing(t, func(_, temp string) {
				_, err := Open(t.Context(), Choice{Backend: "containers", TempDir: temp})
				oneSentence(t, err, "start containers backend: ", address, "--backend embedded")
				_, err = Open(t.Context(), Choice{Backend: "auto", Services: "container", TempDir: temp})
				oneSentence(t, err, address)
			})
		})
	}
}

func TestContainersWithoutImageLeaveNothing(t *testing.T) {
	c, _ := needEngine(t)
	leavesNothing(t, func(_, temp string) {
		_, err := Open(t.Context(), Choice{Backend: "containers", KafkaImage: "localhost:1/none:1", TempDir: temp})
		oneSentence(t, err, "get image localhost:1/none:1", "--kafka-image")
	})
	sessions, err := listSessions(t.Context(), c)
	require.NoError(t, err)
	for _, left := range sessions {
		assert.NotContains(t, left.labels[lockLabel], "ordeal-choice-")
	}
}

func TestAutoRunsEmbeddedWithoutEngine(t *testing.T) {
	address := "unix://" + filepath.Join(t.TempDir(), "none.sock")
	t.Setenv(client.EnvOverrideHost, address)
	var told []string
	b, err := Open(t.Context(), Choice{Backend: "auto", Log: func(line string) { told = append(told, line) }})
	require.NoError(t, err)
	defer func() { require.NoError(t, b.Close()) }()
	assert.Equal(t, "embedded", b.Name())
	assert.Contains(t, told[len(told)-1], "backend embedded: reach container engine at "+address)
	assert.Contains(t, b.Versions()["backend-choice"], "embedded: reach container engine at "+address)
	assert.NotEmpty(t, b.Versions()["postgres"])

	plain, err := Open(t.Context(), Choice{})
	require.NoError(t, err)
	defer func() { require.NoError(t, plain.Close()) }()
	assert.NotContains(t, plain.Versions(), "backend-choice")
}

func TestAutoRunsContainersWhereItCan(t *testing.T) {
	needEngine(t)
	var told []string
	b, err := Open(t.Context(), Choice{Backend: "auto", Log: func(line string) { told = append(told, line) }})
	require.NoError(t, err)
	defer func() { require.NoError(t, b.Close()) }()
	assert.Equal(t, "containers", b.Name())
	assert.Equal(t, "containers: a container engine answers and has the images", b.Versions()["backend-choice"])
	assert.Equal(t, "backend containers: a container engine answers and has the images", told[len(told)-1])
}

func TestDoctorTellsAboutEngine(t *testing.T) {
	t.Setenv(client.EnvOverrideHost, "unix://"+filepath.Join(t.TempDir(), "none.sock"))
	none := doctorEngine(t.Context())
	assert.False(t, none.OK)
	assert.True(t, none.Optional)
	assert.Contains(t, none.Detail, "no such file or directory")
	assert.Contains(t, none.Fix, "systemctl start docker")

	version := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if filepath.Base(r.URL.Path) == "version" {
			_, _ = w.Write([]byte(`{"Version":"28.2.2","ApiVersion":"1.50"}`))
			return
		}
		library{has: []string{kafkaImage.recipe}}.ServeHTTP(w, r)
	})
	t.Setenv(client.EnvOverrideHost, fakeEngine(t, "1.50", version))
	some := doctorEngine(t.Context())
	assert.False(t, some.OK)
	for _, part := range []string{"Docker 28.2.2, API 1.50", kafkaImage.recipe + " (sha256:", postgresImage.official + " is not there"} {
		assert.Contains(t, some.Detail, part)
	}
	assert.Contains(t, some.Fix, "make images")
	assert.Contains(t, some.Fix, "docker pull "+postgresImage.official)
}
