package stack

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/moby/moby/client"
	"golang.org/x/sys/unix"
)

// Labels of everything that a session makes at a container engine.
const (
	sessionLabel = "org.ordeal.session"
	hostLabel    = "org.ordeal.host"
	lockLabel    = "org.ordeal.lock"
)

// session is what one harness makes at a container engine, and the lock that says that it lives.
type session struct {
	id     string
	cache  string // folder of its lock, shared by all sessions of this machine
	labels map[string]string
	// end gives the lock up. A session that could not be cleaned leaves the file, for the next sweep.
	end     func(clean bool) error
	unguard func() error // nil without a reaper
}

func openSession() (session, error) {
	as, err := serverAccount()
	if err != nil {
		return session{}, err
	}
	dir, err := cacheDir(as)
	if err != nil {
		return session{}, err
	}
	host, err := os.Hostname()
	if err != nil {
		return session{}, fmt.Errorf("open session: %w", err)
	}
	removeOldLocks(dir)
	id := strings.ToLower(rand.Text()[:8])
	lock := filepath.Join(dir, "session-"+id+".lock")
	unlock, err := lockFile(context.Background(), lock)
	if err != nil {
		return session{}, err
	}
	return session{
		id: id, cache: dir, labels: map[string]string{sessionLabel: id, hostLabel: host, lockLabel: lock},
		end: func(clean bool) (err error) {
			if clean {
				err = os.Remove(lock)
			}
			return errors.Join(err, unlock())
		},
	}, nil
}

// guardedBy makes the reaper remove the session when the harness dies. It comes before the first container.
func (g *engine) guardedBy(r *reaper) error {
	g.unguard = func() error { return r.tell(guardLine{Release: true, Session: g.id}) }
	return r.tell(guardLine{Session: g.id, Engine: g.client.DaemonHost()})
}

// foreignUnused is how old the remains of a session must be whose lock cannot be asked: it ran on another
// machine, or its cache folder is gone.
const foreignUnused = 24 * time.Hour

// lockState says whether the lock of a session is held. A harness that dies leaves its lock file, free; one
// that ends removes it.
type lockState int

const (
	lockUnknown lockState = iota // no such file here, or not ours to open
	lockHeld
	lockFree
)

func stateOfLock(path string) lockState {
	file, err := os.Open(path)
	if err != nil {
		return lockUnknown
	}
	defer file.Close() // gives the lock back
	switch err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
	case err == nil:
		return lockFree
	case errors.Is(err, unix.EWOULDBLOCK):
		return lockHeld
	}
	return lockUnknown
}

// removeOldLocks removes the lock files of sessions that died long ago. Until then they tell the sweep that
// a session is dead, also one at an engine that nobody uses at the moment.
func removeOldLocks(dir string) {
	locks, _ := filepath.Glob(filepath.Join(dir, "session-*.lock"))
	for _, lock := range locks {
		info, err := os.Stat(lock)
		if err == nil && time.Since(info.ModTime()) > preparedUnused && stateOfLock(lock) == lockFree {
			_ = os.Remove(lock)
		}
	}
}

// remains are what the engine still has of one session.
type remains struct {
	labels map[string]string
	newest time.Time
}

func (r remains) dead(host string, now time.Time) bool {
	if r.labels[hostLabel] == host {
		switch stateOfLock(r.labels[lockLabel]) {
		case lockFree:
			return true
		case lockHeld:
			return false
		}
	}
	return now.Sub(r.newest) > foreignUnused
}

// sweep removes what dead sessions left at the engine.
func (g *engine) sweep(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reapTimeout)
	defer cancel()
	sessions, err := listSessions(ctx, g.client)
	if err != nil {
		return err
	}
	var errs []error
	for id, left := range sessions {
		if !left.dead(g.labels[hostLabel], time.Now()) {
			continue
		}
		err := removeSession(ctx, g.client, id)
		if err == nil {
			g.log(fmt.Sprintf("removed what session %s left at the container engine", id))
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// listSessions returns all sessions, dead and alive, that something at the engine is labelled with.
func listSessions(ctx context.Context, api client.APIClient) (map[string]remains, error) {
	ours := make(client.Filters).Add("label", sessionLabel)
	containers, err := api.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: ours})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	networks, err := api.NetworkList(ctx, client.NetworkListOptions{Filters: ours})
	if err != nil {
		return nil, fmt.Errorf("list networks: %w", err)
	}
	volumes, err := api.VolumeList(ctx, client.VolumeListOptions{Filters: ours})
	if err != nil {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	images, err := api.ImageList(ctx, client.ImageListOptions{Filters: ours})
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	sessions := map[string]remains{}
	add := func(labels map[string]string, created time.Time) {
		id := labels[sessionLabel]
		if old, ok := sessions[id]; ok && old.newest.After(created) {
			created = old.newest
		}
		sessions[id] = remains{labels, created}
	}
	for _, c := range containers.Items {
		add(c.Labels, time.Unix(c.Created, 0))
	}
	for _, n := range networks.Items {
		add(n.Labels, n.Created)
	}
	for _, v := range volumes.Items {
		created, _ := time.Parse(time.RFC3339, v.CreatedAt) // of an unknown age is old
		add(v.Labels, created)
	}
	for _, i := range images.Items {
		if i.Labels[sessionLabel] != "" { // a prepared image belongs to no session
			add(i.Labels, time.Unix(i.Created, 0))
		}
	}
	return sessions, nil
}

const (
	// reapTimeout bounds the removal of what a dead session left.
	reapTimeout = 30 * time.Second
	// reapSettle is how long an engine may still be making what a harness asked for before it died.
	reapSettle = time.Second
)

// reapSession removes all of a session whose harness is dead, at the engine at the address.
func reapSession(ctx context.Context, address, id string) error {
	ctx, cancel := context.WithTimeout(ctx, reapTimeout)
	defer cancel()
	c, err := dialEngine(ctx, address)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // idle connections only
	// Twice: the engine may be making something that the harness asked for before it died.
	for range 2 {
		if err := removeSession(ctx, c, id); err != nil {
			return err
		}
		select {
		case <-time.After(reapSettle):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
