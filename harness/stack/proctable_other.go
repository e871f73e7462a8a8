//go:build !linux

package stack

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// processes returns the system's process table, as ps prints it.
func processes() ([]proc, error) {
	return ps("-A")
}

// processOf looks one process up; not ok means that there is none.
func processOf(pid int) (p proc, ok bool) {
	found, err := ps("-p", strconv.Itoa(pid))
	if err != nil || len(found) != 1 {
		return proc{}, false
	}
	return found[0], true
}

func ps(selection ...string) ([]proc, error) {
	out, err := exec.Command("ps", append(selection, "-o", "pid=,ppid=,pgid=,stat=,lstart=")...).Output()
	if err != nil {
		return nil, fmt.Errorf("read process table: %w", err)
	}
	var all []proc
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		pid, _ := strconv.Atoi(fields[0])
		parent, _ := strconv.Atoi(fields[1])
		group, _ := strconv.Atoi(fields[2])
		all = append(all, proc{pid, parent, group, fields[3][0], 1, strings.Join(fields[4:], " ")})
	}
	return all, nil
}

// processesWith finds nothing here: other processes' environments cannot be read everywhere.
func processesWith(string) []int { return nil }
