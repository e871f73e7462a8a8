package stack

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// ContainersConfig configures [NewContainers]. Its zero value is usable.
type ContainersConfig struct {
	// Log is told about slow or surprising steps: a pull, an image of a recipe, a cluster that is thrown
	// away. Nil drops it.
	Log func(string)
	// KafkaImage and PostgresImage are images with the contract of the official ones. "" is the official
	// one, or the one of images/ where only that is present.
	KafkaImage, PostgresImage string
	// KafkaProfile is "fast" (also ""), or "default" for the failover timings that people run.
	KafkaProfile string
	// Services is "process" (also ""), or "container": then programs of this binary run in containers.
	Services string
	// TempDir is where temporary files live; "" means [os.TempDir].
	TempDir string
}

// containers is the backend of real servers in containers.
type containers struct {
	base
	engine       *engine
	images       images
	profile      string
	serviceImage string // "" where services are processes
	clusters     clusterConfig
	pool         *clusterPool

	closeOnce sync.Once
	closeErr  error
}

// NewContainers returns the backend that runs Apache Kafka and Postgres at a container engine, the one
// that Testcontainers finds. The binary must call [Dispatch] first in main or TestMain. Its errors say
// what to do; with an error nothing is left behind.
func NewContainers(ctx context.Context, config ContainersConfig) (Backend, error) {
	if config.Log == nil {
		config.Log = func(string) {}
	}
	b := &containers{base: base{log: config.Log}}
	if err := b.init(ctx, config); err != nil {
		return nil, errors.Join(fmt.Errorf("start containers backend: %w", err), b.Close())
	}
	return b, nil
}

func (b *containers) init(ctx context.Context, config ContainersConfig) (err error) {
	b.profile = config.KafkaProfile
	if b.profile == "" {
		b.profile = "fast"
	}
	if _, ok := kafkaProfiles[b.profile]; !ok {
		known := slices.Sorted(maps.Keys(kafkaProfiles))
		return fmt.Errorf("no Kafka profile %q; there are %s", b.profile, strings.Join(known, " and "))
	}
	if !slices.Contains([]string{"", "process", "container"}, config.Services) {
		return fmt.Errorf("services run as process or container, not %q", config.Services)
	}
	if b.engine, err = openEngine(ctx, b.log); err != nil {
		return err
	}
	if b.images, err = findImages(ctx, b.engine.client, config.KafkaImage, config.PostgresImage, b.log); err != nil {
		return err
	}
	if err := b.engine.locate(ctx); err != nil {
		return err
	}
	if config.Services == "container" && !b.engine.direct {
		return remoteServices(b.engine.client.DaemonHost())
	}
	if err := b.base.init(config.TempDir, nil); err != nil {
		return err
	}
	if err := b.engine.guardedBy(b.reaper); err != nil {
		return err
	}
	if config.Services == "container" {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("run services in containers: %w", err)
		}
		if b.serviceImage, err = b.engine.serviceImage(ctx, self); err != nil {
			return err
		}
	}
	b.clusters = clusterConfig{image: b.images.kafka.name, profile: b.profile, turn: make(chan struct{}, 1)}
	b.pool = newClusterPool(b.log, func(ctx context.Context, brokers int) (*cluster, error) {
		return b.newCluster(ctx, brokers, false)
	})
	return nil
}

func (b *containers) newCluster(ctx context.Context, brokers int, direct bool) (*cluster, error) {
	return b.engine.newCluster(ctx, b.clusters, strconv.Itoa(b.number()), brokers, direct)
}

// Name implements [Backend].
func (b *containers) Name() string { return "containers" }

// Versions implements [Backend].
func (b *containers) Versions() map[string]string {
	return map[string]string{
		"broker":        b.images.kafka.String(),
		"postgres":      b.images.postgres.String(),
		"engine":        b.engine.version,
		"kafka-profile": b.profile,
	}
}

// Capabilities implements [Backend].
func (b *containers) Capabilities() Capabilities { return Capabilities{BrokersApart: true} }

// New implements [Backend].
func (b *containers) New(ctx context.Context, options Options) (*Environment, error) {
	done, err := b.begin()
	if err != nil {
		return nil, fmt.Errorf("start environment: %w", err)
	}
	defer done()
	e, err := b.environment(options)
	if err == nil {
		err = b.assemble(ctx, e, options)
	}
	return e.orClosed(ctx, err)
}

// assemble makes and starts everything that an environment needs.
func (b *containers) assemble(ctx context.Context, e *Environment, options Options) error {
	brokers := brokerCount(options)
	c, err := b.borrow(ctx, brokers, options.Direct)
	if err != nil {
		return err
	}
	e.release = func(context.Context) error {
		c.unlend()
		b.giveBack(c, options.Direct)
		return nil
	}
	c.lend(e)
	e.isolate, e.rejoin = c.isolate, c.rejoin
	if b.serviceImage != "" {
		b.containServices(e, c.clients)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return c.serve(ctx, e, options.Topics) })
	group.Go(func() error {
		if err := b.addPostgres(ctx, e, c.clients, options); err != nil {
			return err
		}
		if err := b.addCaches(ctx, e, c.clients, options); err != nil {
			return err
		}
		return e.start(ctx)
	})
	return group.Wait()
}

// borrow returns a cluster that is the caller's own until giveBack.
func (b *containers) borrow(ctx context.Context, brokers int, direct bool) (*cluster, error) {
	if !direct {
		return b.pool.take(ctx, brokers)
	}
	if !b.engine.direct {
		return nil, errors.New("brokers can advertise their real addresses only at a container engine on this Linux machine")
	}
	return b.newCluster(ctx, brokers, true)
}

func (b *containers) giveBack(c *cluster, direct bool) {
	if direct {
		b.pool.discard(c)
		return
	}
	b.pool.give(c)
}

// logPath is the log of a server or service.
func (e *Environment) logPath(name string) string { return filepath.Join(e.logs, name+".log") }

// Close implements [Backend]. It is idempotent; later calls return the first one's error.
func (b *containers) Close() error {
	b.closeOnce.Do(func() { b.closeErr = b.close() })
	return b.closeErr
}

func (b *containers) close() error {
	err := b.closeEnvironments()
	if b.pool != nil {
		b.pool.close()
	}
	if b.engine != nil {
		err = errors.Join(err, b.engine.close())
	}
	return errors.Join(err, b.release())
}
