package stack

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"

	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/loopback"
)

const (
	// preparedRepository names the images of prepared clusters; the tag is their fingerprint.
	preparedRepository = "ordeal-prepared/postgres"
	preparedLabel      = "org.ordeal.prepared"
	// preparingHost is the address of a server while it is prepared.
	preparingHost = postgresHosts - 1

	containerConfigPath = "/etc/ordeal-postgresql.conf"
	// containerConfig is for a server that is alone in its container, where psql of the image's start script
	// looks for the socket.
	containerConfig = postgresConfig + `
listen_addresses = '*'
unix_socket_directories = '/var/run/postgresql'
`
)

// containerEnv is what the image makes its first cluster with. The data is outside the image's volume: what
// is in a volume is not committed.
var containerEnv = map[string]string{
	"PGDATA":                    "/var/lib/ordeal",
	"POSTGRES_USER":             Superuser,
	"POSTGRES_HOST_AUTH_METHOD": "trust",
	"POSTGRES_INITDB_ARGS":      "--encoding=UTF8 --locale=C --wal-segsize=1 --no-sync",
}

var containerCommand = []string{"postgres", "-c", "config_file=" + containerConfigPath}

// preparedImage returns the image for servers with these databases: schema applied, publication and slots
// made, stopped cleanly. It is made once per engine and kept there.
func (b *containers) preparedImage(ctx context.Context, on *network, databases []Database) (name string, err error) {
	fingerprint := b.fingerprint(databases)
	name = preparedRepository + ":" + fingerprint
	used := filepath.Join(b.engine.cache, "prepared-image-"+fingerprint)
	if there, err := b.hasImage(ctx, name); there || err != nil {
		return name, errors.Join(err, touch(used))
	}
	ctx, cancel := context.WithTimeout(ctx, prepareTimeout)
	defer cancel()
	release, err := lockFile(ctx, filepath.Join(b.engine.cache, "prepare-image.lock"))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, release()) }()
	if there, err := b.hasImage(ctx, name); there || err != nil {
		return name, err // another process was faster
	}
	b.forgetUnusedImages(ctx)
	began := time.Now()
	if err := b.prepare(ctx, on, fingerprint, databases); err != nil {
		return "", fmt.Errorf("prepare Postgres: %w", err)
	}
	b.log(fmt.Sprintf("prepared Postgres %s in %s", name, time.Since(began).Round(time.Millisecond)))
	return name, touch(used)
}

// fingerprint names all that a prepared image depends on.
func (b *containers) fingerprint(databases []Database) string {
	content, err := json.Marshal([]any{b.images.postgres.id, containerConfig, containerEnv, containerCommand, observable, everyTable, keylessTables, dropTemplate0, databases})
	if err != nil {
		panic(err) // strings only
	}
	return fmt.Sprintf("%x", sha256.Sum256(content))[:16]
}

func (b *containers) hasImage(ctx context.Context, name string) (bool, error) {
	_, err := inspectImage(ctx, b.engine.client, name)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// touch makes the file, or makes it new.
func touch(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	now := time.Now()
	return errors.Join(file.Close(), os.Chtimes(path, now, now))
}

// prepare runs the image once and commits what it became. The caller holds the lock.
func (b *containers) prepare(ctx context.Context, on *network, fingerprint string, databases []Database) (err error) {
	var own loopback.Ports
	c, err := b.newPostgres(ctx, own.Dial, containerSpec{
		event: "prepare-postgres", image: b.images.postgres.id, env: containerEnv, cmd: containerCommand,
		at: []attachment{{network: on, address: on.address(preparingHost)}},
		files: []testcontainers.ContainerFile{{
			Reader: strings.NewReader(containerConfig), ContainerFilePath: containerConfigPath, FileMode: 0o644,
		}},
	})
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		err = errors.Join(err, c.remove(closing))
	}()
	c.lend(filepath.Join(b.tmp, "prepare-"+fingerprint+".log"), func(history.Process, bool) {})
	if err := c.Start(ctx); err != nil {
		return err
	}
	if err := fill(ctx, c.address(postgresPort), databases); err != nil {
		return err
	}
	if err := c.Terminate(ctx); err != nil {
		return err
	}
	_, err = b.engine.client.ContainerCommit(ctx, c.id, client.ContainerCommitOptions{
		Reference: preparedRepository + ":" + fingerprint, Changes: committedLabels(c.engine.labelled(), fingerprint),
	})
	if err != nil {
		return fmt.Errorf("commit container: %w", err)
	}
	return nil
}

// committedLabels are instructions that keep the session's labels from the image: it outlives the session,
// and Ryuk removes images too.
func committedLabels(session map[string]string, fingerprint string) []string {
	changes := []string{"LABEL " + preparedLabel + "=" + fingerprint}
	for label := range session {
		changes = append(changes, "LABEL "+label+`=""`)
	}
	return changes
}

// forgetUnusedImages removes prepared images that no server has been made from for long. Those that
// containers run are refused by the engine. The caller holds the lock.
func (b *containers) forgetUnusedImages(ctx context.Context) {
	ours := make(client.Filters).Add("label", preparedLabel)
	prepared, err := b.engine.client.ImageList(ctx, client.ImageListOptions{Filters: ours})
	if err != nil {
		return // the next time will do
	}
	for _, image := range prepared.Items {
		used := filepath.Join(b.engine.cache, "prepared-image-"+image.Labels[preparedLabel])
		last := time.Unix(image.Created, 0)
		if info, err := os.Stat(used); err == nil {
			last = info.ModTime()
		}
		if time.Since(last) < preparedUnused {
			continue
		}
		if _, err := b.engine.client.ImageRemove(ctx, image.ID, client.ImageRemoveOptions{PruneChildren: true}); err == nil {
			_ = os.Remove(used)
		}
	}
}
