package stack

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fakePostgres makes a folder with binaries that only know their version.
func fakePostgres(t *testing.T, version string) string {
	t.Helper()
	bin := t.TempDir()
	for _, name := range []string{"postgres", "initdb"} {
		script := "#!/bin/sh\necho 'postgres (PostgreSQL) " + version + "'\n"
		require.NoError(t, os.WriteFile(filepath.Join(bin, name), []byte(script), 0o755))
	}
	return bin
}

func TestFindPostgresTakesTheFirstThatFits(t *testing.T) {
	pinned, old, recent := fakePostgres(t, "17.5"), fakePostgres(t, "14.9 (Debian 14.9-1)"), fakePostgres(t, "16.2 (Debian 16.2-1)")
	offline := func() (string, error) { return "", errors.New("network is unreachable") }
	online := func() (string, error) { return pinned, nil }
	for name, test := range map[string]struct {
		search postgresSearch
		want   PostgresBinaries
	}{
		"chosen":     {postgresSearch{chosen: recent, fetch: online}, PostgresBinaries{recent, "16.2", PostgresBinEnv}},
		"downloaded": {postgresSearch{fetch: online, installed: []string{recent}}, PostgresBinaries{pinned, "17.5", "downloaded"}},
		"installed":  {postgresSearch{fetch: offline, installed: []string{"/none", old, recent}}, PostgresBinaries{recent, "16.2", "PATH"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := test.search.find(t.Context())
			require.NoError(t, err)
			assert.Equal(t, test.want, got)
		})
	}

	_, err := postgresSearch{fetch: offline, installed: []string{"/none", old}}.find(t.Context())
	for _, part := range []string{"network is unreachable", "/none", "14.9 is older than 15", "apt-get install postgresql", PostgresBinEnv} {
		assert.ErrorContains(t, err, part)
	}
	_, err = postgresSearch{chosen: old, fetch: online}.find(t.Context())
	assert.ErrorContains(t, err, PostgresBinEnv, "what was chosen is not silently replaced")
}

func TestFailedDownloadIsNotRepeatedAtOnce(t *testing.T) {
	cache := t.TempDir()
	t.Setenv(PostgresRepositoryEnv, "http://127.0.0.1:1")
	quiet := func(string) {}
	_, err := fetchPostgres(t.Context(), cache, quiet)
	require.ErrorContains(t, err, "unable to connect to http://127.0.0.1:1")
	_, err = fetchPostgres(t.Context(), cache, quiet)
	require.ErrorContains(t, err, "not tried again before")
	require.ErrorContains(t, err, "unable to connect", "it still says why")
	left, err := os.ReadDir(cache)
	require.NoError(t, err)
	assert.Len(t, left, 2, "a lock and the reason, nothing half downloaded: %v", left)
}

func TestDoctorFindsThisMachineFit(t *testing.T) {
	for _, finding := range Doctor(t.Context()) {
		t.Logf("%-20s %-5v %s %s", finding.Name, finding.OK, finding.Detail, finding.Fix)
		if finding.Name != "container engine" {
			assert.True(t, finding.OK, finding.Name)
			assert.Empty(t, finding.Fix)
		}
	}
}

func TestDoctorSaysWhatToDo(t *testing.T) {
	t.Setenv(PostgresBinEnv, "/no/such/folder")
	finding := doctorPostgres(t.Context())
	assert.False(t, finding.OK)
	assert.Contains(t, finding.Detail, "/no/such/folder")
	assert.Contains(t, finding.Fix, PostgresBinEnv)

	t.Setenv(CacheEnv, "/dev/null/cache")
	assert.False(t, doctorCache().OK)
	t.Setenv("TMPDIR", "/no/such/folder")
	assert.False(t, doctorTemp().OK)
}
