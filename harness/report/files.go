package report

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// Names of the report files in a run's folder.
const (
	JSONFile     = "report.json"
	JUnitFile    = "junit.xml"
	MarkdownFile = "summary.md"
	HTMLFile     = "index.html"
)

// needed is the free space below which a run is not started. A catalogue's histories and logs are some
// ten megabytes, and its clusters, which may share the disk, some more.
const needed = 200 << 20

// WriteAll writes every report file of the run into dir, which it creates. Each file appears whole or
// not at all: an older one stays until its successor is complete. A file that cannot be written does
// not keep the others from being written. The error says what to do.
func WriteAll(dir string, run Run) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("create report folder: %w: %s", err, remedy(err))
	}
	return errors.Join(
		replace(filepath.Join(dir, JSONFile), run, WriteJSON),
		replace(filepath.Join(dir, JUnitFile), run, WriteJUnit),
		replace(filepath.Join(dir, MarkdownFile), run, WriteMarkdown),
		replace(filepath.Join(dir, HTMLFile), run, WriteHTML),
	)
}

// replace writes a file beside path and then renames it.
func replace(path string, run Run, write func(io.Writer, Run) error) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write report %s: %w: %s", path, err, remedy(err))
		}
	}()
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignore(file.Close(), fs.ErrClosed), os.Remove(file.Name()))
		}
	}()
	buffer := bufio.NewWriter(file)
	if err := write(buffer, run); err != nil {
		return err
	}
	if err := buffer.Flush(); err != nil {
		return err
	}
	if err := file.Chmod(0o644); err != nil { // CreateTemp keeps it from the CI server's other users
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

func ignore(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

// remedy says what to do about an error of the file system.
func remedy(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "free some space, or choose a folder on another disk with --out"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return "choose a folder that you may write to with --out"
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrExist):
		return "a file is in the way: move it, or choose another folder with --out"
	default:
		return "choose another folder with --out"
	}
}

// Preflight makes sure, before anything starts, that dir exists or can be created, that files can be
// written in it, and that its disk has room for a run. The error is one sentence that says what to do.
func Preflight(dir string) error { return preflight(dir, free) }

func preflight(dir string, free func(string) (uint64, error)) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("create report folder: %w: %s", err, remedy(err))
	}
	probe, err := os.CreateTemp(dir, ".ordeal-preflight.*")
	if err != nil {
		return fmt.Errorf("write to report folder: %w: %s", err, remedy(err))
	}
	_, err = probe.WriteString("ordeal")
	if err := errors.Join(err, probe.Close(), os.Remove(probe.Name())); err != nil {
		return fmt.Errorf("write to report folder: %w: %s", err, remedy(err))
	}
	available, err := free(dir)
	if err != nil {
		return fmt.Errorf("measure free space of report folder %s: %w: %s", dir, err, remedy(err))
	}
	if available < needed {
		return fmt.Errorf("start run: report folder %s has %d MB of free space and a run needs %d MB: %s",
			dir, available>>20, needed>>20, remedy(syscall.ENOSPC))
	}
	return nil
}

// free is the space in bytes that an unprivileged user may still use on dir's disk.
func free(dir string) (uint64, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return 0, err
	}
	return uint64(stat.Bavail) * uint64(stat.Bsize), nil //nolint:unconvert // the types differ by system
}
