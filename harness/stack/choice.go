package stack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// Environment variables that choose what to run on, beside [KafkaImageEnv] and [PostgresImageEnv].
const (
	BackendEnv      = "ORDEAL_BACKEND"
	KafkaProfileEnv = "ORDEAL_KAFKA_PROFILE"
	ServicesEnv     = "ORDEAL_SERVICES"
)

// ErrChoice says that a [Choice] cannot be: a name that does not exist, or two that exclude each other.
var ErrChoice = errors.New("no such choice")

// Choice says what to run on. Its zero value is the embedded backend.
type Choice struct {
	// Backend is "embedded" (also ""), "containers", or "auto": containers where an engine answers and the
	// images are there or can be pulled, else embedded.
	Backend string
	// KafkaImage, PostgresImage, KafkaProfile and Services are for containers, see [ContainersConfig].
	KafkaImage, PostgresImage string
	KafkaProfile              string
	Services                  string
	// Log is told about slow or surprising steps, and what "auto" chose and why. Nil drops it.
	Log func(string)
	// TempDir is where temporary files live; "" means [os.TempDir].
	TempDir string
	// Ahead is for the embedded backend, see [EmbeddedConfig].
	Ahead int
}

// ChoiceFromEnv is what the environment says, with the usual choice where it says nothing. An error wraps
// [ErrChoice].
func ChoiceFromEnv() (Choice, error) {
	c := Choice{
		Backend:       cmp.Or(os.Getenv(BackendEnv), backends[0]),
		KafkaImage:    os.Getenv(KafkaImageEnv),
		PostgresImage: os.Getenv(PostgresImageEnv),
		KafkaProfile:  cmp.Or(os.Getenv(KafkaProfileEnv), "fast"),
		Services:      cmp.Or(os.Getenv(ServicesEnv), serviceKinds[0]),
	}
	return c, c.Validate()
}

var (
	backends     = []string{"embedded", "containers", "auto"}
	serviceKinds = []string{"process", "container"}
)

// Validate says what is wrong with the choice, before anything starts. An error wraps [ErrChoice].
func (c Choice) Validate() error {
	for _, setting := range []struct {
		what, value string
		known       []string
	}{
		{"backend", c.Backend, backends},
		{"Kafka profile", c.KafkaProfile, slices.Sorted(maps.Keys(kafkaProfiles))},
		{"services", c.Services, serviceKinds},
	} {
		if setting.value != "" && !slices.Contains(setting.known, setting.value) {
			return fmt.Errorf("%w: %s %q; there are %s", ErrChoice, setting.what, setting.value, strings.Join(setting.known, ", "))
		}
	}
	if c.inContainers() && cmp.Or(c.Backend, backends[0]) == "embedded" {
		return fmt.Errorf("%w: services as containers need the backend containers", ErrChoice)
	}
	return nil
}

// inContainers says that services must be containers.
func (c Choice) inContainers() bool { return c.Services == "container" }

// Open returns the backend that was chosen. The binary must call [Dispatch] first in main or TestMain. With
// an error nothing is left behind; one about the choice itself wraps [ErrChoice].
func Open(ctx context.Context, c Choice) (Backend, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Log == nil {
		c.Log = func(string) {}
	}
	switch c.Backend {
	case "containers":
		return c.containers(ctx)
	case "auto":
		return c.auto(ctx)
	}
	return c.embedded(ctx)
}

func (c Choice) embedded(ctx context.Context) (Backend, error) {
	return NewEmbedded(ctx, EmbeddedConfig{Log: c.Log, Ahead: c.Ahead, TempDir: c.TempDir})
}

func (c Choice) containers(ctx context.Context) (Backend, error) {
	return NewContainers(ctx, ContainersConfig{
		Log: c.Log, KafkaImage: c.KafkaImage, PostgresImage: c.PostgresImage,
		KafkaProfile: c.KafkaProfile, Services: c.Services, TempDir: c.TempDir,
	})
}

// auto falls back only where the machine has no containers to offer: what else goes wrong is told.
func (c Choice) auto(ctx context.Context) (Backend, error) {
	b, err := c.containers(ctx)
	why := "a container engine answers and has the images"
	var without unavailable
	if errors.As(err, &without) && !c.inContainers() {
		why = without.Error()
		b, err = c.embedded(ctx)
	}
	if err != nil {
		return nil, err
	}
	c.Log(fmt.Sprintf("backend %s: %s", b.Name(), why))
	return chosen{b, why}, nil
}

// chosen is a backend that was not asked for by name.
type chosen struct {
	Backend
	why string
}

// Versions implements [Backend]. It says why this backend runs, too.
func (c chosen) Versions() map[string]string {
	versions := maps.Clone(c.Backend.Versions())
	versions["backend-choice"] = fmt.Sprintf("%s: %s", c.Name(), c.why)
	return versions
}
