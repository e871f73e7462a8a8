package stack

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/loopback"
)

const (
	// prepareTimeout bounds initdb and the making of one prepared cluster.
	prepareTimeout = 2 * time.Minute
	// preparedUnused is how long a prepared cluster that nobody copies is kept in the cache.
	preparedUnused = 7 * 24 * time.Hour
)

// prepared returns the data directory to copy for servers with these databases: schema applied,
// publication and slots made, stopped cleanly. It is made once per machine and kept in the cache.
func (b *embedded) prepared(ctx context.Context, databases []Database) (data string, err error) {
	data = filepath.Join(b.cache, "cluster-"+b.fingerprint(databases))
	if isCluster(data) {
		now := time.Now()
		return data, os.Chtimes(data, now, now)
	}
	ctx, cancel := context.WithTimeout(ctx, prepareTimeout)
	defer cancel()
	release, err := lockFile(ctx, filepath.Join(b.cache, "prepare.lock"))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, release()) }()
	if isCluster(data) {
		return data, nil // another process was faster
	}
	b.forgetUnused()
	began := time.Now()
	if err := b.prepare(ctx, data, databases); err != nil {
		return "", fmt.Errorf("prepare Postgres: %w", err)
	}
	b.log(fmt.Sprintf("prepared Postgres %s in %s", filepath.Base(data), time.Since(began).Round(time.Millisecond)))
	return data, nil
}

// fingerprint names all that a prepared cluster depends on.
func (b *embedded) fingerprint(databases []Database) string {
	content, err := json.Marshal([]any{b.binaries.Version, b.binaries.Bin, b.account, postgresConfig, observable, everyTable, keylessTables, dropTemplate0, databases})
	if err != nil {
		panic(err) // strings only
	}
	return fmt.Sprintf("%x", sha256.Sum256(content))[:16]
}

func isCluster(data string) bool {
	_, err := os.Stat(filepath.Join(data, "PG_VERSION"))
	return err == nil
}

func (b *embedded) prepare(ctx context.Context, data string, databases []Database) (err error) {
	empty, err := b.initialised(ctx)
	if err != nil {
		return err
	}
	part := data + ".part"
	if err := os.RemoveAll(part); err != nil { // of a process that died here; we hold the lock
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(part)) }()
	if err := copyTree(ctx, empty, part, b.account); err != nil {
		return err
	}
	// The copy's own file is the server's already; only its content is replaced.
	if err := os.WriteFile(filepath.Join(part, "postgresql.conf"), []byte(postgresConfig), 0o600); err != nil {
		return err
	}
	log := filepath.Join(b.tmp, filepath.Base(data)+".log")
	var own loopback.Ports
	process, port, err := b.newPostgres("postgres", part, log, func(history.Process, bool) {}, own.Dial)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		err = errors.Join(err, process.retire(closing), port.Close())
	}()
	if err := process.Start(ctx); err != nil {
		return err
	}
	if err := fill(ctx, port.Addr(), databases); err != nil {
		return err
	}
	if err := process.Terminate(ctx); err != nil {
		return err
	}
	if err := removeHints(part); err != nil {
		return err
	}
	return os.Rename(part, data)
}

// fill makes the databases of a new server, and all that observing them takes.
func fill(ctx context.Context, addr string, databases []Database) error {
	for _, database := range databases {
		if err := create(ctx, addr, database); err != nil {
			return fmt.Errorf("create database %s: %w", database.Name, err)
		}
	}
	// Slots come last: each keeps the write-ahead log from its creation on.
	for _, database := range databases {
		slot := fmt.Sprintf("SELECT pg_create_logical_replication_slot('%s', 'pgoutput')", SlotName(database.Name))
		if err := execute(ctx, addr, database.Name, slot); err != nil {
			return fmt.Errorf("create replication slot of %s: %w", database.Name, err)
		}
	}
	for _, statement := range dropTemplate0 {
		if err := execute(ctx, addr, Superuser, statement); err != nil {
			return fmt.Errorf("drop template0: %w", err)
		}
	}
	return nil
}

// observable makes every row change of a database visible to logical decoding, old values included,
// also in tables that a service creates later.
const observable = `
CREATE SCHEMA ordeal;
CREATE FUNCTION ordeal.identify_rows() RETURNS event_trigger LANGUAGE plpgsql AS $$
DECLARE made record;
BEGIN
	FOR made IN SELECT objid FROM pg_event_trigger_ddl_commands() WHERE object_type = 'table' AND NOT schema_name = 'pg_temp' LOOP
		IF ordeal.identity_is_full(made.objid) THEN
			EXECUTE format('ALTER TABLE %s REPLICA IDENTITY FULL', made.objid::regclass);
		END IF;
	END LOOP;
END $$;
CREATE EVENT TRIGGER ordeal_identify_rows ON ddl_command_end
	WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO') EXECUTE FUNCTION ordeal.identify_rows();
CREATE PUBLICATION ` + Publication + ` FOR ALL TABLES;
`

// Which tables log whole old rows.
const (
	everyTable    = `CREATE FUNCTION ordeal.identity_is_full(oid) RETURNS bool LANGUAGE sql AS 'SELECT true';`
	keylessTables = `CREATE FUNCTION ordeal.identity_is_full(made oid) RETURNS bool LANGUAGE sql AS
		'SELECT NOT EXISTS (SELECT FROM pg_index WHERE indrelid = made AND indisprimary)';`
)

// identify is the part of making a database observable that says which tables log whole old rows.
func (d Database) identify() string {
	if d.DefaultIdentity {
		return keylessTables
	}
	return everyTable
}

// dropTemplate0 saves every copy 7 MB and 300 files of a database that only restores use.
var dropTemplate0 = []string{"ALTER DATABASE template0 IS_TEMPLATE false", "DROP DATABASE template0"}

// removeHints removes the free space and visibility maps, a third of all files of a new cluster.
// Postgres takes a missing map for an empty one and makes it again.
func removeHints(data string) error {
	return filepath.WalkDir(data, func(path string, _ fs.DirEntry, err error) error {
		if err == nil && (strings.HasSuffix(path, "_fsm") || strings.HasSuffix(path, "_vm")) {
			err = os.Remove(path)
		}
		return err
	})
}

func create(ctx context.Context, addr string, database Database) error {
	if err := execute(ctx, addr, Superuser, "CREATE DATABASE "+pgx.Identifier{database.Name}.Sanitize()+" STRATEGY file_copy"); err != nil {
		return err
	}
	if err := execute(ctx, addr, database.Name, observable+database.identify()); err != nil {
		return err
	}
	if err := execute(ctx, addr, database.Name, database.Schema); err != nil {
		return fmt.Errorf("apply schema: %w", err)
	}
	return nil
}

// execute runs statements, any number of them, on a connection of their own.
func execute(ctx context.Context, addr, database, statements string) error {
	conn, err := pgx.Connect(ctx, postgresURL(addr, database))
	if err != nil {
		return err
	}
	_, err = conn.PgConn().Exec(ctx, statements).ReadAll()
	return errors.Join(err, conn.Close(ctx))
}

// initialised returns what initdb makes with this version, from the cache where it can. The caller
// holds the lock.
func (b *embedded) initialised(ctx context.Context) (string, error) {
	key := sha256.Sum256([]byte(b.binaries.String()))
	data := filepath.Join(b.cache, fmt.Sprintf("initdb-%x", key[:8]))
	if isCluster(data) {
		return data, nil
	}
	part := data + ".part"
	if err := os.RemoveAll(part); err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(part) }() // renamed by then, unless something failed
	if err := os.Mkdir(part, 0o700); err != nil {
		return "", err
	}
	if err := b.account.own(part); err != nil {
		return "", err
	}
	initdb := exec.CommandContext(ctx, filepath.Join(b.binaries.Bin, "initdb"), "-D", part, "-U", Superuser,
		"--auth=trust", "--encoding=UTF8", "--locale=C", "--wal-segsize=1", "--no-sync")
	initdb.Env = environ()
	b.account.apply(initdb)
	if out, err := initdb.CombinedOutput(); err != nil {
		return "", fmt.Errorf("run initdb: %w\n%s", err, strings.TrimSpace(string(out)))
	}
	return data, os.Rename(part, data)
}

// forgetUnused removes prepared clusters that nobody has copied for long. The caller holds the lock.
func (b *embedded) forgetUnused() {
	old, _ := filepath.Glob(filepath.Join(b.cache, "cluster-*"))
	for _, dir := range old {
		if info, err := os.Stat(dir); err == nil && time.Since(info.ModTime()) > preparedUnused {
			_ = os.RemoveAll(dir)
		}
	}
}
