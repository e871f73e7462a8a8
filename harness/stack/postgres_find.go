package stack

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// PostgresBinEnv names a folder with the Postgres binaries to use, before any other.
const PostgresBinEnv = "ORDEAL_PG_BIN"

// oldestPostgres is the first major version whose logical replication has all that the taps use.
const oldestPostgres = 15

// PostgresBinaries are an installed Postgres server.
type PostgresBinaries struct {
	Bin     string // folder of postgres and initdb
	Version string // "17.5"
	Source  string // why this one: "downloaded", "ORDEAL_PG_BIN", "PATH", "installed"
}

func (b PostgresBinaries) String() string {
	return fmt.Sprintf("Postgres %s from %s (%s)", b.Version, b.Bin, b.Source)
}

// FindPostgres returns the binaries that [PostgresBinEnv] names; else the pinned version, downloaded
// once per machine; else the first of version 15 or later on PATH or under /usr/lib/postgresql. Log,
// which may be nil, is told what it does and what it took. The error lists every place it looked at.
func FindPostgres(ctx context.Context, log func(string)) (PostgresBinaries, error) {
	if log == nil {
		log = func(string) {}
	}
	as, err := serverAccount()
	if err != nil {
		return PostgresBinaries{}, err
	}
	search := postgresSearch{
		chosen:    os.Getenv(PostgresBinEnv),
		installed: installedPostgres(),
		as:        as,
		fetch: func() (string, error) {
			cache, err := cacheDir(as)
			if err != nil {
				return "", err
			}
			return fetchPostgres(ctx, cache, log)
		},
	}
	found, err := search.find(ctx)
	if err != nil {
		return PostgresBinaries{}, err
	}
	log("using " + found.String())
	return found, nil
}

var howToInstall = fmt.Sprintf("install Postgres %d or later (Debian, Ubuntu: apt-get install postgresql) "+
	"and set %s to the folder of its binaries", oldestPostgres, PostgresBinEnv)

type postgresSearch struct {
	chosen    string
	fetch     func() (bin string, err error)
	installed []string // candidates, best first
	as        *account
}

func (s postgresSearch) find(ctx context.Context) (PostgresBinaries, error) {
	if s.chosen != "" {
		found, err := s.inspect(ctx, s.chosen, PostgresBinEnv)
		if err != nil {
			return found, fmt.Errorf("use %s=%s: %w; unset it to have the pinned version downloaded, or %s", PostgresBinEnv, s.chosen, err, howToInstall)
		}
		return found, nil
	}
	var tried []error
	bin, err := s.fetch()
	if err == nil {
		var found PostgresBinaries
		if found, err = s.inspect(ctx, bin, "downloaded"); err == nil {
			return found, nil
		}
	}
	tried = append(tried, fmt.Errorf("download Postgres %s: %w", pinnedPostgres, err))
	for _, bin := range s.installed {
		source := "installed"
		if !strings.HasPrefix(bin, installRoot) {
			source = "PATH"
		}
		found, err := s.inspect(ctx, bin, source)
		if err == nil {
			return found, nil
		}
		tried = append(tried, fmt.Errorf("%s: %w", bin, err))
	}
	tried = append(tried, errors.New(howToInstall))
	return PostgresBinaries{}, fmt.Errorf("find Postgres: %w", errors.Join(tried...))
}

var versionNumber = regexp.MustCompile(`\(PostgreSQL\) (\d+)[.\w]*`)

// inspect checks that the folder holds a server that is new enough and that runs here.
func (s postgresSearch) inspect(ctx context.Context, bin, source string) (PostgresBinaries, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if _, err := os.Stat(filepath.Join(bin, "initdb")); err != nil {
		return PostgresBinaries{}, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "postgres"), "--version")
	cmd.Env = environ()
	s.as.apply(cmd)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return PostgresBinaries{}, fmt.Errorf("run postgres --version: %w %s", err, out)
	}
	match := versionNumber.FindSubmatch(out)
	if match == nil {
		return PostgresBinaries{}, fmt.Errorf("postgres --version says %q", out)
	}
	_, version, _ := strings.Cut(string(match[0]), " ")
	if major, _ := strconv.Atoi(string(match[1])); major < oldestPostgres {
		return PostgresBinaries{}, fmt.Errorf("version %s is older than %d", version, oldestPostgres)
	}
	return PostgresBinaries{Bin: bin, Version: version, Source: source}, nil
}

// installRoot is where Debian and Ubuntu keep every major version.
const installRoot = "/usr/lib/postgresql"

// installedPostgres returns folders that may hold a server: that of PATH, then the newest first.
func installedPostgres() []string {
	var bins []string
	if path, err := exec.LookPath("postgres"); err == nil {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			bins = append(bins, filepath.Dir(real))
		}
	}
	majors, err := os.ReadDir(installRoot)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return bins
	}
	newest := make(map[int]string)
	top := 0
	for _, entry := range majors {
		if major, err := strconv.Atoi(entry.Name()); err == nil {
			newest[major], top = filepath.Join(installRoot, entry.Name(), "bin"), max(top, major)
		}
	}
	for major := top; major > 0; major-- {
		if bin, ok := newest[major]; ok {
			bins = append(bins, bin)
		}
	}
	return bins
}
