package ordeal

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/check"
	"github.com/ordeal-chaos/ordeal/services"
)

// Bugs is how many planted bugs there are: B1 to B41.
const Bugs = 41

//go:embed testdata/mutants.yaml
var mutantTable []byte

// Mutant is one planted bug: a guard removed from a design, or a design that is the bug itself. Its scenario must name one
// of the predicted anomalies, and pass once the bug is gone, with the same schedule and seed.
type Mutant struct {
	// ID is that of the bug, B1 to B41; a letter behind it tells several mutants of one bug apart.
	ID       string `yaml:"id" json:"id"`
	Bug      string `yaml:"bug" json:"bug"`       // the mechanism, in one sentence
	Source   string `yaml:"source" json:"source"` // where it is known from
	Design   string `yaml:"design" json:"design,omitempty"`
	Without  string `yaml:"without" json:"without,omitempty"`   // the guard removed from Design
	Restored string `yaml:"restored" json:"restored,omitempty"` // or the design that has a sound part where Design has the bug
	Scenario string `yaml:"scenario" json:"scenario,omitempty"`
	// Predicts names anomalies, one of which must be found.
	Predicts []string `yaml:"predicts" json:"predicts,omitempty"`
	// Unplantable is why this architecture cannot have the bug; then nothing runs.
	Unplantable string `yaml:"unplantable" json:"unplantable,omitempty"`
}

// Mutants returns the committed table, in its order: every bug, each entry checked. The error wraps [harness.ErrUsage].
func Mutants() ([]Mutant, error) {
	mutants, err := ParseMutants(mutantTable)
	if err != nil {
		return nil, err
	}
	return mutants, refused(append(missing(mutants), wrong(mutants)...))
}

// missing says which bugs the table lacks.
func missing(mutants []Mutant) []error {
	var problems []error
	for n := 1; n <= Bugs; n++ {
		bug := fmt.Sprintf("B%d", n)
		if !slices.ContainsFunc(mutants, func(m Mutant) bool { return m.Number() == bug }) {
			problems = append(problems, fmt.Errorf("no mutant of %s", bug))
		}
	}
	return problems
}

// refused makes one error of all problems, a line each; nil of none.
func refused(problems []error) error {
	if len(problems) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", harness.ErrUsage, errors.Join(problems...))
}

// ListMutants returns the committed table as it is written, without asking whether its scenarios and designs exist.
func ListMutants() ([]Mutant, error) { return ParseMutants(mutantTable) }

// ParseMutants reads a table, of some or all bugs. It refuses fields that it does not know, and ids that are none or that
// come twice. The error wraps [harness.ErrUsage].
func ParseMutants(data []byte) ([]Mutant, error) {
	var mutants []Mutant
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(&mutants); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: read mutants: %s", harness.ErrUsage, strings.Join(strings.Fields(err.Error()), " "))
	}
	var problems []error
	seen := map[string]bool{}
	for i, m := range mutants {
		switch {
		case m.ID == "":
			problems = append(problems, fmt.Errorf("entry %d of the mutants has no id", i+1))
		case !mutantID.MatchString(m.ID):
			problems = append(problems, fmt.Errorf("mutant %q: the ids are B1 to B%d, with a letter where a bug has several mutants", m.ID, Bugs))
		case seen[m.ID]:
			problems = append(problems, fmt.Errorf("mutant %s is there twice", m.ID))
		}
		seen[m.ID] = true
	}
	return mutants, refused(problems)
}

var mutantID = regexp.MustCompile(`^B([1-9]|[1-3][0-9]|4[01])[a-z]?$`)

// CheckMutants says what is wrong with the entries of a table, each by its id: names that do not exist, a guard that its
// design lacks, a scenario that needs what its design lacks. The error wraps [harness.ErrUsage].
func CheckMutants(mutants []Mutant) error { return refused(wrong(mutants)) }

func wrong(mutants []Mutant) []error {
	var problems []error
	for _, m := range mutants {
		for _, problem := range m.problems() {
			problems = append(problems, fmt.Errorf("mutant %s: %s", m.ID, strings.TrimPrefix(problem.Error(), harness.ErrUsage.Error()+": ")))
		}
	}
	return problems
}

// problems are everything that is wrong with the entry.
func (m Mutant) problems() []error {
	var problems []error
	add := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if m.Bug == "" || m.Source == "" {
		add("it needs bug and source, in words")
	}
	if m.Unplantable != "" {
		if m.Design+m.Without+m.Restored+m.Scenario != "" || len(m.Predicts) > 0 {
			add("what is unplantable has no design, scenario or prediction")
		}
		return problems
	}
	switch {
	case m.Without != "" && m.Restored != "":
		add("it has both without and restored: remove a guard, or name the design that has none of the bug")
	case m.Without == "" && m.Restored == "":
		add("it has neither without nor restored: nothing is planted")
	case m.Restored != "" && m.Restored == m.Design:
		add("restored is the design itself: nothing is planted")
	}
	for _, name := range m.Predicts {
		if !slices.ContainsFunc(check.Kinds, func(k check.Kind) bool { return k.Name == name }) {
			var names []string
			for _, kind := range check.Kinds {
				names = append(names, kind.Name)
			}
			add("no anomaly %q; nearest: %s", name, strings.Join(harness.Nearest(name, names, 2), ", "))
		}
	}
	if len(m.Predicts) == 0 {
		add("it predicts no anomaly")
	}
	if len(problems) > 0 {
		return problems
	}
	for _, scenario := range []func() (harness.Scenario, error){m.Planted, m.Sound} {
		if s, err := scenario(); err != nil {
			problems = append(problems, err)
		} else if lacks := s.Lacks(); len(lacks) > 0 {
			add("scenario %s needs %s, which design %s does not have", s.Name, strings.Join(lacks, " and "), s.System.Name)
		}
	}
	if len(problems) == 2 && problems[0].Error() == problems[1].Error() {
		return problems[:1] // both runs are of the same design
	}
	return problems
}

// Number is the bug's id without the letter of this mutant: "B38".
func (m Mutant) Number() string { return strings.TrimRight(m.ID, "abcdefghijklmnopqrstuvwxyz") }

// SoundDesign is the design that the mutant is compared with.
func (m Mutant) SoundDesign() string {
	if m.Restored != "" {
		return m.Restored
	}
	return m.Design
}

// Planted is the mutant's scenario with the bug. The error wraps [harness.ErrUsage].
func (m Mutant) Planted() (harness.Scenario, error) {
	var without []string
	if m.Without != "" {
		without = []string{m.Without}
	}
	return findScenario(m.Scenario, m.Design, without)
}

// Sound is the mutant's scenario without the bug. The error wraps [harness.ErrUsage].
func (m Mutant) Sound() (harness.Scenario, error) {
	return findScenario(m.Scenario, m.SoundDesign(), nil)
}

func findScenario(name, design string, without []string) (harness.Scenario, error) {
	system, err := Design(design, without)
	if err != nil {
		return harness.Scenario{}, err
	}
	var names []string
	for _, s := range Catalogue(system) {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return harness.Scenario{}, fmt.Errorf("%w: no scenario %q; nearest: %s", harness.ErrUsage, name, strings.Join(harness.Nearest(name, names, 3), ", "))
}

// Unguarded lists the guards that no entry of a table removes.
func Unguarded(mutants []Mutant) []string {
	var names []string
	for _, guard := range services.Guards() {
		if !slices.ContainsFunc(mutants, func(m Mutant) bool { return m.Without == guard.Name }) {
			names = append(names, guard.Name)
		}
	}
	return names
}
