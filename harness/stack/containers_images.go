package stack

import (
	"context"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/authconfig"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
)

// Environment variables that name the images of the containers backend.
const (
	KafkaImageEnv    = "ORDEAL_KAFKA_IMAGE"
	PostgresImageEnv = "ORDEAL_POSTGRES_IMAGE"
	RedisImageEnv    = "ORDEAL_REDIS_IMAGE"
)

// imageUse is one thing that an image is needed for.
type imageUse struct {
	official  string // what is used when the user names none
	recipe    string // the same, built by make images, for machines without a registry
	flag, env string // with which users name another
}

var (
	kafkaImage    = imageUse{"apache/kafka:4.4.0", "ordeal/kafka:4.4.0", "--kafka-image", KafkaImageEnv}
	postgresImage = imageUse{"postgres:17.5", "ordeal/postgres:17.5", "--postgres-image", PostgresImageEnv}
	redisImage    = imageUse{"redis:7.0.15", "ordeal/redis:7.0.15", "", RedisImageEnv} // for designs that use Redis
)

const (
	// pullStalled is how long a pull may say nothing, and pullTimeout how long it may take in all.
	pullStalled = 15 * time.Second
	pullTimeout = 15 * time.Minute
)

// image is an image that the engine has.
type image struct{ name, id string }

// String is the name, and the content that it stands for at the moment: "postgres:17.5 (sha256:0123456789ab)".
func (i image) String() string { return fmt.Sprintf("%s (%.19s)", i.name, i.id) }

// images are what every session's containers run.
type images struct{ kafka, postgres image }

// findImages returns the images that the user named, "" for none, else the official ones where the engine
// has them, else those of the recipes, else the official ones pulled.
func findImages(ctx context.Context, engine client.APIClient, kafka, postgres string, log func(string)) (found images, err error) {
	if found.kafka, err = kafkaImage.find(ctx, engine, kafka, log); err != nil {
		return images{}, err
	}
	found.postgres, err = postgresImage.find(ctx, engine, postgres, log)
	return found, err
}

// candidates are the images to look for, best first.
func (u imageUse) candidates(named string) []string {
	if named != "" {
		return []string{named}
	}
	return []string{u.official, u.recipe}
}

// present returns the best image that the engine has.
func (u imageUse) present(ctx context.Context, engine client.APIClient, named string) (found image, err error) {
	for _, name := range u.candidates(named) {
		if found, err = inspectImage(ctx, engine, name); !errdefs.IsNotFound(err) {
			break
		}
	}
	return found, err
}

func (u imageUse) find(ctx context.Context, engine client.APIClient, named string, log func(string)) (image, error) {
	if found, err := u.present(ctx, engine, named); !errdefs.IsNotFound(err) {
		return found, err
	}
	name := u.candidates(named)[0]
	log(fmt.Sprintf("pulling image %s", name))
	if err := pullImage(ctx, engine, name, pullStalled); err != nil {
		if ctx.Err() != nil {
			return image{}, fmt.Errorf("pull image %s: %w", name, context.Cause(ctx))
		}
		return image{}, noImage(name, u, err)
	}
	return inspectImage(ctx, engine, name)
}

func inspectImage(ctx context.Context, engine client.APIClient, name string) (image, error) {
	seen, err := engine.ImageInspect(ctx, name)
	if err != nil {
		return image{}, fmt.Errorf("look for image %s: %w", name, err)
	}
	return image{name, seen.ID}, nil
}

// pullImage pulls an image until there is no progress for the time of stalled. Testcontainers would retry for
// a quarter of an hour where no registry can be reached.
func pullImage(ctx context.Context, engine client.APIClient, name string, stalled time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, pullTimeout, fmt.Errorf("not done after %s", pullTimeout))
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	stall := time.AfterFunc(stalled, func() { stop(fmt.Errorf("no progress for %s", stalled)) })
	defer stall.Stop()
	err := func() error {
		pull, err := engine.ImagePull(ctx, name, client.ImagePullOptions{RegistryAuth: registryAuth(ctx, name)})
		if err != nil {
			return err
		}
		defer pull.Close()
		for message, err := range pull.JSONMessages(ctx) {
			if err != nil {
				return err
			}
			if message.Error != nil {
				return message.Error
			}
			stall.Reset(stalled)
		}
		return nil
	}()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// registryAuth is what docker login left for the image's registry; "" when it left nothing.
func registryAuth(ctx context.Context, name string) string {
	_, auth, err := testcontainers.DockerImageAuth(ctx, name)
	if err != nil {
		return ""
	}
	encoded, err := authconfig.Encode(auth)
	if err != nil {
		return ""
	}
	return encoded
}
