package stack

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// sweepSharedMemory removes what a Postgres server that died without a shutdown left: the System V
// segment that its postmaster.pid names, and then that file, which otherwise blocks a restart once its
// pid is reused. No process of the server may run any more. A clean data directory is no error.
func sweepSharedMemory(ctx context.Context, data string) error {
	path := filepath.Join(data, "postmaster.pid")
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("sweep shared memory: %w", err)
	}
	if key, id, ok := segmentOf(string(content)); ok {
		if err := removeSegment(ctx, key, id); err != nil {
			return fmt.Errorf("sweep shared memory of %s: %w", data, err)
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("sweep shared memory: %w", err)
	}
	return nil
}

// segmentOf reads the key and id of the segment from line 7 of a postmaster.pid.
func segmentOf(pidFile string) (key, id int, ok bool) {
	lines := strings.Split(pidFile, "\n")
	if len(lines) < 7 {
		return 0, 0, false
	}
	fields := strings.Fields(lines[6])
	if len(fields) != 2 {
		return 0, 0, false
	}
	unsigned, keyErr := strconv.ParseUint(fields[0], 10, 64)
	id, idErr := strconv.Atoi(fields[1])
	return int(int32(unsigned)), id, keyErr == nil && idErr == nil
}

// removeSegment removes the segment unless its id has been reused under another key. Processes that
// were just killed may be attached for a moment longer.
func removeSegment(ctx context.Context, key, id int) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return await(ctx, fmt.Sprintf("detaching from segment %d", id), func() (bool, error) {
		// Asking for no size finds the segment and creates none.
		if found, err := unix.SysvShmGet(key, 0, 0); err != nil || found != id {
			return true, nil
		}
		var info unix.SysvShmDesc
		if _, err := unix.SysvShmCtl(id, unix.IPC_STAT, &info); err != nil {
			return true, nil
		}
		if info.Nattch > 0 {
			return false, nil
		}
		_, err := unix.SysvShmCtl(id, unix.IPC_RMID, nil)
		return true, err
	})
}
