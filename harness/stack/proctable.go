package stack

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"
)

// proc is one line of the system's process table. A pid alone may be reused; a pid with its start
// time is one process for ever.
type proc struct {
	pid, parent, group int
	state              byte   // as in ps: R, S, T (stopped), Z (dead, not yet reaped), …
	threads            int    // that have not ended; where unknown, 1
	started            string // opaque, fixed over the process's life
}

// dead says that the process runs no more, even where nobody has reaped it yet. Z alone says that only of
// its first thread: the others may still be running, or dying with its sockets open.
func (p proc) dead() bool { return (p.state == 'Z' || p.state == 'X') && p.threads <= 1 }

// lives says whether this very process, not another with its pid, still runs.
func (p proc) lives() bool {
	now, ok := processOf(p.pid)
	return ok && now.started == p.started && !now.dead()
}

// tree returns root, if it lives, with all its living descendants and all members of its process
// group; root comes first. Postgres backends leave the group, orphans of a shell leave the descent.
func tree(root int) ([]proc, error) {
	all, err := processes()
	if err != nil {
		return nil, err
	}
	in := map[int]bool{root: true}
	for grown := true; grown; {
		grown = false
		for _, p := range all {
			if !in[p.pid] && (in[p.parent] || p.group == root) {
				in[p.pid], grown = true, true
			}
		}
	}
	members := slices.DeleteFunc(all, func(p proc) bool { return !in[p.pid] || p.dead() })
	slices.SortStableFunc(members, func(a, b proc) int {
		switch root {
		case a.pid:
			return -1
		case b.pid:
			return 1
		}
		return 0
	})
	return members, nil
}

// killTree kills root's tree and returns when none of it lives. All of it is stopped first, so that
// nothing forks, notices or commits on the way, and root is killed last: a Postgres whose backends
// outlive it cannot be restarted. A tree that is gone is no error.
func killTree(ctx context.Context, root int) error {
	members, err := stopTree(ctx, root)
	if err != nil && len(members) == 0 {
		return err
	}
	for _, p := range slices.Backward(members) {
		_ = syscall.Kill(p.pid, syscall.SIGKILL) // an error means that it is gone
	}
	// Not asked of the tree: with their parent dead, the dying belong to it no more.
	return await(ctx, fmt.Sprintf("end of process tree %d", root), func() (bool, error) {
		return !slices.ContainsFunc(members, proc.lives), nil
	})
}

// stopTree stops root's tree with SIGSTOP and returns it when all of it has stopped; root comes first. A
// tree that is gone is empty. With an error, the tree is what was last seen of it.
func stopTree(ctx context.Context, root int) (members []proc, err error) {
	_ = syscall.Kill(root, syscall.SIGSTOP) // at once; an error means that it is gone
	err = await(ctx, fmt.Sprintf("stop of process tree %d", root), func() (bool, error) {
		seen, err := tree(root)
		if err != nil {
			return false, err
		}
		members = seen
		stopped := true
		for _, p := range members {
			if p.state != 'T' {
				stopped = false
				_ = syscall.Kill(p.pid, syscall.SIGSTOP)
			}
		}
		return stopped, nil
	})
	return members, err
}

// continueTree undoes stopTree, root last.
func continueTree(root int) error {
	members, err := tree(root)
	if err != nil {
		return err
	}
	for _, p := range slices.Backward(members) {
		_ = syscall.Kill(p.pid, syscall.SIGCONT)
	}
	return nil
}

// await polls the condition, at first every millisecond, until it holds, fails, or ctx ends.
func await(ctx context.Context, what string, condition func() (bool, error)) error {
	began, pause := time.Now(), time.Millisecond
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("await %s for %s: %w", what, time.Since(began).Round(time.Millisecond), context.Cause(ctx))
		case <-timer.C:
		}
		done, err := condition()
		if done || err != nil {
			return err
		}
		timer.Reset(pause)
		pause = min(pause*3/2, 25*time.Millisecond)
	}
}
