package report

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWriteAll(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "report")
	require.NoError(t, WriteAll(dir, Run{}))
	require.NoError(t, WriteAll(dir, fixture()), "over an older report")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
		info, err := entry.Info()
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o644), info.Mode(), entry.Name())
	}
	require.Equal(t, []string{HTMLFile, JUnitFile, JSONFile, MarkdownFile}, names, "and no temporary file is left")
	for _, name := range names {
		want, err := os.ReadFile(filepath.Join("testdata", name))
		require.NoError(t, err)
		got, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, string(want), string(got))
	}
}

// One file that cannot be written does not cost the others, and leaves nothing behind.
func TestWriteAllWritesWhatItCan(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, JUnitFile, "in the way"), 0o755))
	err := WriteAll(dir, fixture())
	require.ErrorContains(t, err, "write report "+filepath.Join(dir, JUnitFile))
	require.ErrorContains(t, err, "--out")
	for _, name := range []string{JSONFile, MarkdownFile, HTMLFile} {
		require.FileExists(t, filepath.Join(dir, name))
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestWriteAllWhereAFileIs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		for _, err := range []error{WriteAll(dir, Run{}), Preflight(dir)} {
			require.ErrorContains(t, err, "create report folder: mkdir "+file)
			require.ErrorContains(t, err, "a file is in the way: move it, or choose another folder with --out")
			require.NotContains(t, err.Error(), "\n", "one sentence")
		}
	}
}

func TestPreflight(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "report")
	require.NoError(t, preflight(dir, func(string) (uint64, error) { return needed, nil }))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err, "the folder is made")
	require.Empty(t, entries, "and nothing is left in it")

	err = preflight(dir, func(string) (uint64, error) { return needed - 1, nil })
	require.EqualError(t, err, "start run: report folder "+dir+" has 199 MB of free space and a run needs 200 MB: "+
		"free some space, or choose a folder on another disk with --out")

	available, err := free(dir)
	require.NoError(t, err)
	require.Positive(t, available)
	_, err = free(filepath.Join(dir, "missing"))
	require.ErrorIs(t, err, syscall.ENOENT)
}

func TestRemedy(t *testing.T) {
	for err, want := range map[error]string{
		syscall.ENOSPC: "free some space", syscall.EROFS: "you may write to", syscall.EACCES: "you may write to",
		syscall.EIO: "choose another folder",
	} {
		require.True(t, strings.Contains(remedy(&os.PathError{Op: "open", Path: "x", Err: err}), want), err)
	}
}
