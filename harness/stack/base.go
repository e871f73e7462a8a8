package stack

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// base is what the backends share: a folder for temporary files, a reaper that guards it and all that is
// started, and the environments that are still open.
type base struct {
	log    func(string)
	tmp    string // everything that goes when the backend closes
	reaper *reaper

	mu     sync.Mutex
	made   int // numbers folders
	open   map[*Environment]struct{}
	closed bool
	making sync.WaitGroup // calls of New; added to under mu, before closed
}

var errClosed = errors.New("backend is closed")

// init starts the reaper and makes the folder below temp, [os.TempDir] if empty. as must reach it; nil is
// the harness's own account.
func (b *base) init(temp string, as *account) (err error) {
	b.open = map[*Environment]struct{}{}
	if temp == "" {
		temp = os.TempDir()
	}
	if temp, err = filepath.Abs(temp); err != nil {
		return err
	}
	if err := as.reaches(temp); err != nil {
		return fmt.Errorf("use %s for temporary files: %w", temp, err)
	}
	if err := checkSpace(temp); err != nil {
		return err
	}
	if b.reaper, err = startReaper(); err != nil {
		return err
	}
	b.tmp = filepath.Join(temp, "ordeal-"+strings.ToLower(rand.Text()[:12]))
	// Guarded before it is made, so that there is no moment in which it could be left behind.
	if err := b.reaper.tell(guardLine{Dir: b.tmp}); err != nil {
		return err
	}
	// Others may pass, for the unprivileged server, but not look.
	return os.Mkdir(b.tmp, 0o711)
}

// begin opens one call of New; done closes it.
func (b *base) begin() (done func(), err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, errClosed
	}
	b.making.Add(1)
	return b.making.Done, nil
}

// environment makes an empty one, which is closed with the backend.
func (b *base) environment(options Options) (*Environment, error) {
	if err := options.check(); err != nil {
		return nil, err
	}
	logs, err := makeLogDir(options.Dir)
	if err != nil {
		return nil, err
	}
	if err := checkSpace(b.tmp); err != nil {
		return nil, err
	}
	e := &Environment{
		logs: logs, reaper: b.reaper, databases: map[string]*Postgres{}, names: map[string]bool{}, forget: b.forget,
		linkHosts: []string{localhost}, serviceHost: localhost,
	}
	e.record = e.recordTo(options.Record)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open[e] = struct{}{}
	return e, nil
}

// made starts what was assembled.
func (e *Environment) made(ctx context.Context, err error) (*Environment, error) {
	if err == nil {
		err = e.start(ctx)
	}
	return e.orClosed(ctx, err)
}

// orClosed closes the environment, which may be nil, if there is an error.
func (e *Environment) orClosed(ctx context.Context, err error) (*Environment, error) {
	if err == nil {
		return e, nil
	}
	err = fmt.Errorf("start environment: %w", err)
	if e != nil {
		err = errors.Join(err, e.Close(ctx))
	}
	return nil, err
}

// path returns an unused path in the backend's folder.
func (b *base) path(kind string) string {
	return filepath.Join(b.tmp, fmt.Sprintf("%s-%d", kind, b.number()))
}

// number returns a number that the backend has not given out yet.
func (b *base) number() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.made++
	return b.made
}

func (b *base) folder(kind string) (string, error) {
	path := b.path(kind)
	return path, os.Mkdir(path, 0o700)
}

func (b *base) forget(e *Environment) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.open, e)
}

// closeEnvironments refuses new environments and closes those that are open.
func (b *base) closeEnvironments() error {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.making.Wait() // each is bounded by the readiness timeouts
	b.mu.Lock()
	var open []*Environment
	for e := range b.open {
		open = append(open, e)
	}
	b.mu.Unlock()
	var errs []error
	for _, e := range open {
		errs = append(errs, e.Close(context.Background()))
	}
	return errors.Join(errs...)
}

// release removes the folder and ends the reaper.
func (b *base) release() error {
	if b.reaper == nil {
		return nil
	}
	var err error
	if b.tmp != "" {
		err = os.RemoveAll(b.tmp)
	}
	return errors.Join(err, b.reaper.Close())
}
