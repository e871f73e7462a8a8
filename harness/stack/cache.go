package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// CacheEnv names the folder for what is made or downloaded once per machine. Without it, that is
// ordeal in the user's cache folder, or for root /var/cache/ordeal, which unprivileged servers can enter.
const CacheEnv = "ORDEAL_CACHE"

// cacheDir returns the cache folder, made and checked.
func cacheDir(as *account) (string, error) {
	dir := os.Getenv(CacheEnv)
	if dir == "" && as != nil {
		dir = "/var/cache/ordeal"
	}
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("find cache folder (set %s): %w", CacheEnv, err)
		}
		dir = filepath.Join(base, "ordeal")
	}
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err == nil {
		err = as.reaches(dir)
	}
	if err != nil {
		return "", fmt.Errorf("make cache folder (%s chooses another): %w", CacheEnv, err)
	}
	return dir, nil
}

// lockFile takes an exclusive lock, shared with other processes, and returns its release. The lock ends
// with the process that holds it.
func lockFile(ctx context.Context, path string) (release func() error, err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	err = await(ctx, "lock "+path, func() (bool, error) {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, unix.EINTR) {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file.Close, nil
}
