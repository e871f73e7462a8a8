package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

// pinnedPostgres is the version that both backends run.
const pinnedPostgres = embeddedpostgres.V17

// PostgresRepositoryEnv names a Maven repository to download Postgres from instead of the public one.
const PostgresRepositoryEnv = "ORDEAL_PG_REPOSITORY"

const (
	fetchTimeout = 90 * time.Second
	// fetchAgain is how long a failed download is not repeated: behind a firewall each may take the whole timeout.
	fetchAgain = 10 * time.Minute
	// fetchDirEnv tells the download process where to put what.
	fetchDirEnv = "ORDEAL_FETCH_DIR"
)

// fetchPostgres returns the folder of the pinned binaries in the cache, and downloads them if they are
// missing. Several processes may call it at once: one downloads, the others wait for it.
func fetchPostgres(ctx context.Context, cache string, log func(string)) (bin string, err error) {
	home := filepath.Join(cache, "postgres-"+string(pinnedPostgres))
	bin = filepath.Join(home, "bin")
	if _, err := os.Stat(filepath.Join(bin, "postgres")); err == nil {
		return bin, nil
	}
	release, err := lockFile(ctx, home+".lock")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, release()) }()
	if _, err := os.Stat(filepath.Join(bin, "postgres")); err == nil {
		return bin, nil // another process was faster
	}
	failed := home + ".failed"
	if info, err := os.Stat(failed); err == nil && time.Since(info.ModTime()) < fetchAgain {
		reason, _ := os.ReadFile(failed)
		return "", fmt.Errorf("not tried again before %s (remove %s to try): %s",
			info.ModTime().Add(fetchAgain).Format(time.TimeOnly), failed, bytes.TrimSpace(reason))
	}
	log(fmt.Sprintf("downloading Postgres %s (15 MB, once, to %s)", pinnedPostgres, home))
	began := time.Now()
	if err := download(ctx, home); err != nil {
		_ = os.WriteFile(failed, []byte(err.Error()), 0o644)
		return "", err
	}
	log(fmt.Sprintf("downloaded Postgres %s in %s", pinnedPostgres, time.Since(began).Round(100*time.Millisecond)))
	return bin, nil
}

// download runs the library in a child process, where its missing timeout and its log.Fatal do no harm,
// and moves the complete result into place.
func download(ctx context.Context, home string) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, fetchTimeout, fmt.Errorf("no end after %s", fetchTimeout))
	defer cancel()
	part, err := os.MkdirTemp(filepath.Dir(home), filepath.Base(home)+".part-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(part)) }()
	command, env, err := programCommand(fetchProgram)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, command[0])
	cmd.Env = environ(append(env, fetchDirEnv+"="+part)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("%w %s", err, bytes.TrimSpace(out))
	}
	extracted := filepath.Join(part, "binaries")
	if err := openToAll(extracted); err != nil {
		return err
	}
	return os.Rename(extracted, home)
}

// fetchMain is the download process. The library has no call that only downloads, so its data directory
// is put where none can be made: Start fetches, checks and extracts, then fails at once.
func fetchMain(context.Context) int {
	dir := os.Getenv(fetchDirEnv)
	obstacle := filepath.Join(dir, "obstacle")
	if err := os.WriteFile(obstacle, nil, 0o600); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	port, err := ReservePort() // the library insists on a free one, and must not meet a real server
	if err == nil {
		err = port.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	config := embeddedpostgres.DefaultConfig().Version(pinnedPostgres).Port(uint32(port.Number())).
		CachePath(filepath.Join(dir, "archive")).RuntimePath(filepath.Join(dir, "runtime")).
		BinariesPath(filepath.Join(dir, "binaries")).DataPath(filepath.Join(obstacle, "data"))
	if repository := os.Getenv(PostgresRepositoryEnv); repository != "" {
		config = config.BinaryRepositoryURL(repository)
	}
	err = embeddedpostgres.NewDatabase(config).Start()
	if _, statErr := os.Stat(filepath.Join(dir, "binaries", "bin", "postgres")); statErr != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// openToAll lets every user read and run what is below dir, whatever the umask was.
func openToAll(dir string) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Type()&fs.ModeSymlink != 0 {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		mode := info.Mode().Perm() | 0o444
		if entry.IsDir() || mode&0o100 != 0 {
			mode |= 0o111
		}
		return os.Chmod(path, mode)
	})
}
