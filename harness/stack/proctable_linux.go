package stack

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// processes returns the system's process table.
func processes() ([]proc, error) {
	pids, err := procPIDs()
	if err != nil {
		return nil, err
	}
	all := make([]proc, 0, len(pids))
	for _, pid := range pids {
		if p, ok := processOf(pid); ok {
			all = append(all, p)
		}
	}
	return all, nil
}

func procPIDs() ([]int, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, fmt.Errorf("read process table: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("read process table: %w", err)
	}
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// processOf looks one process up; not ok means that there is none.
func processOf(pid int) (p proc, ok bool) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return proc{}, false
	}
	// "pid (command) state ppid pgrp …", and the command may hold spaces and parentheses.
	end := bytes.LastIndexByte(stat, ')')
	if end < 0 {
		return proc{}, false
	}
	fields := strings.Fields(string(stat[end+1:]))
	if len(fields) < 20 {
		return proc{}, false
	}
	parent, _ := strconv.Atoi(fields[1])
	group, _ := strconv.Atoi(fields[2])
	threads, _ := strconv.Atoi(fields[17])
	return proc{pid, parent, group, fields[0][0], threads, fields[19]}, true
}

// processesWith returns the processes that were started with the environment setting. It sees those
// whose environment this process may read: its own user's, or all when root.
func processesWith(setting string) []int {
	pids, err := procPIDs()
	if err != nil {
		return nil
	}
	var found []int
	for _, pid := range pids {
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil {
			continue
		}
		for kv := range bytes.SplitSeq(env, []byte{0}) {
			if string(kv) == setting {
				found = append(found, pid)
				break
			}
		}
	}
	return found
}
