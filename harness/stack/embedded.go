package stack

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"sync"
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
	base
	ahead    int
	account  *account
	binaries PostgresBinaries
	cache    string // folder for prepared clusters

	poolsMu sync.Mutex
	pools   map[string]*pool // nil once closed
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
	b := &embedded{base: base{log: config.Log}, ahead: config.Ahead, pools: map[string]*pool{}}
	err := b.init(ctx, config.TempDir)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start embedded backend: %w", err), b.Close())
	}
	return b, nil
}

func (b *embedded) init(ctx context.Context, temp string) (err error) {
	if b.account, err = serverAccount(); err != nil {
		return err
	}
	if b.cache, err = cacheDir(b.account); err != nil {
		return err
	}
	if b.binaries, err = FindPostgres(ctx, b.log); err != nil {
		return err
	}
	return b.base.init(temp, b.account)
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

// Capabilities implements [Backend]. All brokers live in one process.
func (b *embedded) Capabilities() Capabilities { return Capabilities{} }

// New implements [Backend].
func (b *embedded) New(ctx context.Context, options Options) (*Environment, error) {
	done, err := b.begin()
	if err != nil {
		return nil, fmt.Errorf("start environment: %w", err)
	}
	defer done()
	e, err := b.assemble(ctx, options)
	return e.made(ctx, err)
}

// assemble makes everything that an environment needs and starts nothing. What it returns must be
// closed, also with an error.
func (b *embedded) assemble(ctx context.Context, options Options) (*Environment, error) {
	e, err := b.environment(options)
	if err != nil {
		return nil, err
	}
	if err := b.addPostgres(ctx, e, options); err != nil {
		return e, err
	}
	if err := b.addCaches(e, options); err != nil {
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
	return e, b.addBrokers(e, options, data)
}

func (b *embedded) addPostgres(ctx context.Context, e *Environment, options Options) error {
	for name, databases := range options.servers() {
		data, err := b.cluster(ctx, databases)
		if err != nil {
			return err
		}
		e.dirs = append(e.dirs, data)
		process, port, err := b.newPostgres(name, data, filepath.Join(e.logs, name+".log"), e.record, e.ObserverDial)
		if err != nil {
			return err
		}
		e.ports = append(e.ports, port)
		e.addPostgres(process, port.Addr(), loggedPeers(process.log, connectionReceived), databases)
	}
	return nil
}

// cluster returns a data directory with these databases that is the caller's own.
func (b *embedded) cluster(ctx context.Context, databases []Database) (string, error) {
	key := b.fingerprint(databases)
	b.poolsMu.Lock()
	p := b.pools[key]
	b.poolsMu.Unlock()
	if p == nil {
		prepared, err := b.prepared(ctx, databases)
		if err != nil {
			return "", err
		}
		b.poolsMu.Lock()
		if p = b.pools[key]; p == nil {
			p = newPool(b.ahead, func(ctx context.Context) (string, error) {
				to := b.path("postgres")
				return to, copyTree(ctx, prepared, to, b.account)
			})
			b.pools[key] = p
		}
		b.poolsMu.Unlock()
	}
	return p.take(ctx)
}

// Close implements [Backend].
func (b *embedded) Close() error {
	err := b.closeEnvironments()
	b.poolsMu.Lock()
	pools := b.pools
	b.pools = nil
	b.poolsMu.Unlock()
	for _, p := range pools {
		p.close()
	}
	return errors.Join(err, b.release())
}
