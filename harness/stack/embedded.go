package stack

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// EmbeddedConfig configures [NewEmbedded]. Its zero value is usable.
type EmbeddedConfig struct {
	// Log is told about slow or surprising steps: a download, the choice of Postgres. Nil drops it.
	Log func(string)
	// Ahead is how many copies of a prepared Postgres are kept ready for later environments; 0 means 2.
	Ahead int
	// TempDir is where data directories live while they are used; "" means [os.TempDir].
	TempDir string
}

// embedded is the backend that needs no container engine.
type embedded struct {
	config   EmbeddedConfig
	account  *account
	binaries PostgresBinaries
	cache    string // folder for prepared clusters
	tmp      string // everything that goes when the backend closes
	reaper   *reaper

	mu     sync.Mutex
	made   int // numbers folders
	pools  map[string]*pool
	open   map[*Environment]struct{}
	closed bool
	making sync.WaitGroup // calls of New; added to under mu, before closed
}

// NewEmbedded returns the backend that runs a local Postgres and an embedded broker as child processes
// of the harness. The binary must call [Dispatch] first in main or TestMain. The first call on a machine
// may download Postgres, see [FindPostgres].
func NewEmbedded(ctx context.Context, config EmbeddedConfig) (Backend, error) {
	if config.Log == nil {
		config.Log = func(string) {}
	}
	if config.Ahead == 0 {
		config.Ahead = 2
	}
	b := &embedded{config: config, pools: map[string]*pool{}, open: map[*Environment]struct{}{}}
	err := b.init(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start embedded backend: %w", err), b.Close())
	}
	return b, nil
}

func (b *embedded) init(ctx context.Context) (err error) {
	if b.account, err = serverAccount(); err != nil {
		return err
	}
	if b.cache, err = cacheDir(b.account); err != nil {
		return err
	}
	temp := b.config.TempDir
	if temp == "" {
		temp = os.TempDir()
	}
	if temp, err = filepath.Abs(temp); err != nil {
		return err
	}
	if err := b.account.reaches(temp); err != nil {
		return fmt.Errorf("use %s for temporary files: %w", temp, err)
	}
	if err := checkSpace(temp); err != nil {
		return err
	}
	if b.binaries, err = FindPostgres(ctx, b.config.Log); err != nil {
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

// Name implements [Backend].
func (b *embedded) Name() string { return "embedded" }

// Versions implements [Backend].
func (b *embedded) Versions() map[string]string {
	return map[string]string{
		"postgres":        b.binaries.Version,
		"postgres-source": b.binaries.Source + " " + b.binaries.Bin,
		"broker":          brokerVersion(),
	}
}

func brokerVersion() string {
	const module = "github.com/twmb/franz-go/pkg/kfake"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			if dep.Path == module {
				return "kfake " + dep.Version
			}
		}
	}
	return "kfake"
}

func (b *embedded) log(message string) { b.config.Log(message) }

// New implements [Backend].
func (b *embedded) New(ctx context.Context, options Options) (*Environment, error) {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil, fmt.Errorf("start environment: %w", errClosed)
	}
	b.making.Add(1)
	b.mu.Unlock()
	defer b.making.Done()

	e, err := b.assemble(ctx, options)
	if err == nil {
		err = e.start(ctx)
	}
	if err != nil {
		err = fmt.Errorf("start environment: %w", err)
		if e != nil {
			err = errors.Join(err, e.Close(ctx))
		}
		return nil, err
	}
	return e, nil
}

// assemble makes everything that an environment needs and starts nothing. What it returns must be
// closed, also with an error.
func (b *embedded) assemble(ctx context.Context, options Options) (*Environment, error) {
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
	e := &Environment{logs: logs, reaper: b.reaper, databases: map[string]*Postgres{}, forget: b.forget}
	e.record = e.recordTo(options.Record)
	b.enlist(e)
	if err := b.addPostgres(ctx, e, options); err != nil {
		return e, err
	}
	if brokerCount(options) == 0 {
		return e, nil
	}
	data, err := b.folder("kafka")
	if err != nil {
		return e, err
	}
	e.dirs = append(e.dirs, data)
	e.brokers, e.kafka, err = b.newBrokers(e, options, data)
	return e, err
}

func (b *embedded) addPostgres(ctx context.Context, e *Environment, options Options) error {
	groups := map[string][]Database{}
	if options.SeparatePostgres {
		for _, database := range options.Databases {
			groups["postgres-"+database.Name] = []Database{database}
		}
	} else if len(options.Databases) > 0 {
		groups["postgres"] = options.Databases
	}
	for name, databases := range groups {
		data, err := b.cluster(ctx, databases)
		if err != nil {
			return err
		}
		e.dirs = append(e.dirs, data)
		pg, err := b.newPostgres(name, data, filepath.Join(e.logs, name+".log"), e.record, e.ObserverDial)
		if err != nil {
			return err
		}
		e.ports = append(e.ports, pg.port)
		e.servers = append(e.servers, pg)
		for _, database := range databases {
			e.databases[database.Name] = pg
		}
	}
	return nil
}

func (e *Environment) start(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, pg := range e.servers {
		group.Go(func() error { return pg.Start(ctx) })
	}
	if e.kafka != nil {
		group.Go(func() error { return e.kafka.Start(ctx) })
	}
	return group.Wait()
}

// cluster returns a data directory with these databases that is the caller's own.
func (b *embedded) cluster(ctx context.Context, databases []Database) (string, error) {
	key := b.fingerprint(databases)
	b.mu.Lock()
	p := b.pools[key]
	b.mu.Unlock()
	if p == nil {
		prepared, err := b.prepared(ctx, databases)
		if err != nil {
			return "", err
		}
		b.mu.Lock()
		if p = b.pools[key]; p == nil {
			p = newPool(b.config.Ahead, func(ctx context.Context) (string, error) {
				to := b.path("postgres")
				return to, copyTree(ctx, prepared, to, b.account)
			})
			b.pools[key] = p
		}
		b.mu.Unlock()
	}
	return p.take(ctx)
}

var errClosed = errors.New("backend is closed")

// path returns an unused path in the backend's folder.
func (b *embedded) path(kind string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.made++
	return filepath.Join(b.tmp, fmt.Sprintf("%s-%d", kind, b.made))
}

func (b *embedded) folder(kind string) (string, error) {
	path := b.path(kind)
	return path, os.Mkdir(path, 0o700)
}

func (b *embedded) enlist(e *Environment) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open[e] = struct{}{}
}

func (b *embedded) forget(e *Environment) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.open, e)
}

// Close implements [Backend].
func (b *embedded) Close() error {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.making.Wait() // each is bounded by the readiness timeouts
	b.mu.Lock()
	var open []*Environment
	for e := range b.open {
		open = append(open, e)
	}
	pools := b.pools
	b.pools = nil
	b.mu.Unlock()

	var errs []error
	for _, e := range open {
		errs = append(errs, e.Close(context.Background()))
	}
	for _, p := range pools {
		p.close()
	}
	if b.reaper == nil {
		return errors.Join(errs...)
	}
	if b.tmp != "" {
		errs = append(errs, os.RemoveAll(b.tmp))
	}
	return errors.Join(append(errs, b.reaper.Close())...)
}
