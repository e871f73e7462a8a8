package ordeal

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ordeal-chaos/ordeal/harness"
)

//go:embed testdata/mutants-baseline.yaml
var mutantBaseline []byte

// MutantBaselineFile is where the committed baseline is, from the root of the repository.
const MutantBaselineFile = "testdata/mutants-baseline.yaml"

// MutantBaseline says what became of each mutant, by its id, on each class of backend ([BackendClass]) when it was last agreed on.
type MutantBaseline map[string]map[string]MutantVerdict

// BackendClass is what a baseline tells apart: the backend, and whether it has three brokers.
func BackendClass(backend string, brokers int) string {
	if brokers > 1 {
		return fmt.Sprintf("%s-%d", backend, brokers)
	}
	return backend
}

// CommittedMutantBaseline is the baseline that this program was built with.
func CommittedMutantBaseline() (MutantBaseline, error) { return ParseMutantBaseline(mutantBaseline) }

// ParseMutantBaseline reads a baseline. It refuses ids and verdicts that do not exist. The error wraps [harness.ErrUsage].
func ParseMutantBaseline(data []byte) (MutantBaseline, error) {
	baseline := MutantBaseline{}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&baseline); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: read baseline of mutants: %s", harness.ErrUsage, strings.Join(strings.Fields(err.Error()), " "))
	}
	for id, classes := range baseline {
		if !mutantID.MatchString(id) {
			return nil, fmt.Errorf("%w: read baseline of mutants: no mutant can be called %q", harness.ErrUsage, id)
		}
		for class, verdict := range classes {
			if !slices.Contains(MutantVerdicts, verdict) {
				return nil, fmt.Errorf("%w: read baseline of mutants: %s on %s has no verdict %q", harness.ErrUsage, id, class, verdict)
			}
		}
	}
	return baseline, nil
}

// Bytes is the baseline as [ParseMutantBaseline] reads it, in the order of the ids.
func (b MutantBaseline) Bytes() []byte {
	var out bytes.Buffer
	out.WriteString("# What became of each planted bug on each class of backend. `ordeal mutants --update-baseline` writes it;\n" +
		"# a bug that is KILLED here and survives fails `make mutants`.\n")
	for _, id := range slices.SortedFunc(maps.Keys(b), compareIDs) {
		var classes []string
		for _, class := range slices.Sorted(maps.Keys(b[id])) {
			classes = append(classes, fmt.Sprintf("%s: %s", class, b[id][class]))
		}
		fmt.Fprintf(&out, "%s: {%s}\n", id, strings.Join(classes, ", "))
	}
	return out.Bytes()
}

// compareIDs orders B2 before B10, and B38 before B38b.
func compareIDs(a, b string) int {
	if len(Mutant{ID: a}.Number()) != len(Mutant{ID: b}.Number()) {
		return len(Mutant{ID: a}.Number()) - len(Mutant{ID: b}.Number())
	}
	return strings.Compare(a, b)
}

// MutantChange is a mutant whose verdict is not that of the baseline.
type MutantChange struct {
	ID      string        `json:"id"`
	Was     MutantVerdict `json:"was,omitempty"` // "" where the baseline does not know it
	Is      MutantVerdict `json:"is"`
	Worse   bool          `json:"worse"`   // it fails the run
	Unknown bool          `json:"unknown"` // whether it is worse was not found out
}

// String is one sentence.
func (c MutantChange) String() string {
	if c.Was == "" {
		return fmt.Sprintf("%s is %s, and the baseline does not know it", c.ID, c.Is)
	}
	return fmt.Sprintf("%s is %s; in the baseline it is %s", c.ID, c.Is, c.Was)
}

// Changes compares verdicts, by id, with those of the baseline on the same class of backend. A bug that was killed or that the
// baseline does not know must be killed; a false alarm is always worse.
func (b MutantBaseline) Changes(class string, verdicts map[string]MutantVerdict) []MutantChange {
	var changes []MutantChange
	for _, id := range slices.SortedFunc(maps.Keys(verdicts), compareIDs) {
		c := MutantChange{ID: id, Was: b[id][class], Is: verdicts[id]}
		switch {
		case c.Is == FalseAlarm:
			c.Worse = true
		case c.Is == NotKnown:
			c.Unknown = true
		case c.Is == c.Was:
			continue
		case c.Was == "" && (c.Is == Killed || c.Is == Unplantable || c.Is == LeftOut):
			continue
		default:
			c.Worse = c.Was == Killed || c.Was == ""
		}
		changes = append(changes, c)
	}
	return changes
}
