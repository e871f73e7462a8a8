package stack

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"golang.org/x/sys/unix"
)

// leastSpace is what one environment may need for data and logs.
const leastSpace = 200 << 20

// checkSpace fails where an environment would fill the disk.
func checkSpace(dir string) error {
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return fmt.Errorf("measure free space of %s: %w", dir, err)
	}
	if free := uint64(stat.Bavail) * uint64(stat.Bsize); free < leastSpace {
		return fmt.Errorf("only %d MB free on %s, of %d MB that an environment may need", free>>20, dir, leastSpace>>20)
	}
	return nil
}

// makeLogDir makes the folder for logs and proves that a file can be written there.
func makeLogDir(run string) (string, error) {
	if run == "" {
		return "", errors.New("no run folder given")
	}
	run, err := filepath.Abs(run)
	if err != nil {
		return "", err
	}
	logs := filepath.Join(run, "logs")
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return "", fmt.Errorf("make log folder: %w", err)
	}
	if err := checkSpace(logs); err != nil {
		return "", err
	}
	return logs, checkWritable(logs)
}

func checkWritable(dir string) error {
	probe, err := os.CreateTemp(dir, ".probe-")
	if err != nil {
		return fmt.Errorf("write to %s: %w", dir, err)
	}
	_, err = probe.WriteString("probe")
	return errors.Join(err, probe.Close(), os.Remove(probe.Name()))
}

var usableName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

func (o Options) check() error {
	databases, slots := map[string]bool{}, map[string]bool{}
	for _, d := range o.Databases {
		if !usableName.MatchString(d.Name) || len(SlotName(d.Name)) > 63 || d.Name == Superuser {
			return fmt.Errorf("database name %q is not usable", d.Name)
		}
		if databases[d.Name] || slots[SlotName(d.Name)] {
			return fmt.Errorf("database %q is given twice", d.Name)
		}
		databases[d.Name], slots[SlotName(d.Name)] = true, true
	}
	topics := map[string]bool{}
	for _, t := range o.Topics {
		if !usableName.MatchString(t.Name) || t.Partitions < 1 {
			return fmt.Errorf("topic %q with %d partitions is not usable", t.Name, t.Partitions)
		}
		if topics[t.Name] {
			return fmt.Errorf("topic %q is given twice", t.Name)
		}
		topics[t.Name] = true
	}
	if o.Brokers < 0 {
		return fmt.Errorf("%d brokers are not possible", o.Brokers)
	}
	return nil
}
