package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"go.yaml.in/yaml/v3"

	ordeal "github.com/ordeal-chaos/ordeal"
)

// sound is the directory of the runs with no guard removed.
const sound = "sound"

// reason is one difference that is as it should be.
type reason struct {
	Scenario string `yaml:"scenario"` // "*" is any
	Without  string `yaml:"without"`  // the guard removed; empty is the sound design, "*" is any
	Differs  string `yaml:"differs"`  // as printed: "anomaly lost-write", "guarantee log-sound", "verdict", "scenario", "predicted …"
	Reason   string `yaml:"reason"`
	used     bool
}

// shortest is the least number of letters that can justify anything.
const shortest = 20

func readReasons(path string) ([]*reason, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read reasons: %w", err)
	}
	defer file.Close() //nolint:errcheck // only read
	var reasons []*reason
	decoder := yaml.NewDecoder(file)
	decoder.KnownFields(true)
	if err := decoder.Decode(&reasons); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read reasons in %s: %w", path, err)
	}
	for i, r := range reasons {
		if r == nil || r.Scenario == "" || r.Differs == "" || len(strings.TrimSpace(r.Reason)) < shortest {
			return nil, fmt.Errorf("read reasons in %s: entry %d needs scenario, differs and a reason in words", path, i+1)
		}
	}
	return reasons, nil
}

func (r *reason) covers(d difference) bool {
	matches := func(pattern, s string) bool { return pattern == s || pattern == anyScenario }
	return matches(r.Scenario, d.scenario) && matches(r.Without, d.without) && r.Differs == d.what
}

// removal is one guard removed from the sound design, as the table of planted bugs has it.
type removal struct {
	scenarios []string
	predicted []string // anomalies, one of which must show
	three     bool     // it takes three brokers to show it
}

// removals are those of a table, by guard.
func removals(mutants []ordeal.Mutant) map[string]removal {
	three := make(map[string]bool) // names of scenarios
	for _, scenario := range ordeal.Catalogue(ordeal.Sound) {
		three[scenario.Name] = scenario.Brokers > 1
	}
	all := make(map[string]removal)
	for _, m := range mutants {
		if m.Design != sound || m.Without == "" {
			continue
		}
		r := all[m.Without]
		r.scenarios, r.predicted = union(r.scenarios, []string{m.Scenario}), union(r.predicted, m.Predicts)
		r.three = r.three || three[m.Scenario]
		all[m.Without] = r
	}
	return all
}

// printCases prints a line for each guard: its name, how many brokers it takes to show its lack, and the scenarios that do.
func printCases(w io.Writer, all map[string]removal) {
	for _, guard := range slices.Sorted(maps.Keys(all)) {
		brokers := 1
		if all[guard].three {
			brokers = 3
		}
		fmt.Fprintf(w, "%s %d %s\n", guard, brokers, strings.Join(all[guard].scenarios, " "))
	}
}

// readResults reads every report of a backend's directory, and says the backend's name.
func readResults(dir string) (results, string, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*", "report.json"))
	if err == nil && len(paths) == 0 {
		err = errors.New("no report.json in any folder of it")
	}
	if err != nil {
		return nil, "", fmt.Errorf("read %s: %w", dir, err)
	}
	all, backend := make(results), ""
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, "", fmt.Errorf("read report: %w", err)
		}
		var r report
		if err := json.Unmarshal(data, &r); err != nil {
			return nil, "", fmt.Errorf("read report %s: %w", path, err)
		}
		backend = r.Backend
		want := filepath.Base(filepath.Dir(path))
		for _, s := range r.Scenarios {
			without := strings.Join(s.Without, ",")
			if (want == sound) != (without == "") || want != sound && want != without {
				return nil, "", fmt.Errorf("read report %s: scenario %s ran without %q", path, s.Name, without)
			}
			all[cell{s.Name, without}] = s
		}
	}
	return all, backend, nil
}

// run compares two directories, prints the table, and says whether every difference has a reason.
func run(w io.Writer, dirA, dirB, reasonsPath string, predicted map[string]removal) (bool, error) {
	reasons, err := readReasons(reasonsPath)
	if err != nil {
		return false, err
	}
	a, nameA, err := readResults(dirA)
	if err != nil {
		return false, err
	}
	b, nameB, err := readResults(dirB)
	if err != nil {
		return false, err
	}
	if nameA == nameB { // the same backend twice: the directories tell them apart
		nameA, nameB = dirA, dirB
	}
	found := Compare(a, b, predicted, [2]string{nameA, nameB})
	return printTable(w, found, reasons, a, b, [2]string{nameA, nameB})
}

func printTable(w io.Writer, found []difference, reasons []*reason, a, b results, backends [2]string) (bool, error) {
	why := make(map[difference]string)
	for _, d := range found {
		for _, r := range reasons {
			if r.covers(d) {
				r.used, why[d] = true, r.Reason
			}
		}
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "scenario\twithout\t%s\t%s\tcompared\n", backends[0], backends[1])
	for _, at := range cells(a, b) {
		compared, explained := "same", 0
		for _, d := range found {
			if d.cell == at && why[d] == "" {
				compared = "DIFFERS"
			} else if d.cell == at {
				explained++
			}
		}
		if compared == "same" && explained > 0 {
			compared = fmt.Sprintf("differs with reason (%d)", explained)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", at.scenario, dash(at.without), shown(a, at), shown(b, at), compared)
	}
	if err := table.Flush(); err != nil {
		return false, fmt.Errorf("print table: %w", err)
	}
	open := 0
	for _, d := range found {
		text := why[d]
		if text == "" {
			open++
			text = "NO REASON"
		}
		fmt.Fprintf(w, "%s, without %s: %s: %s: %s\n", d.scenario, dash(d.without), d.what, d.detail, strings.Join(strings.Fields(text), " "))
	}
	for _, r := range reasons {
		if !r.used {
			fmt.Fprintf(w, "a reason that nothing needed this time: %s, without %s: %s\n", r.Scenario, dash(r.Without), r.Differs)
		}
	}
	fmt.Fprintf(w, "%d cells, %d differences, %d without a reason\n", len(cells(a, b)), len(found), open)
	return open == 0, nil
}

// shown is a cell of the table: the anomalies, or else the verdict.
func shown(r results, at cell) string {
	s, ok := r[at]
	if !ok {
		return "not run"
	}
	if names := s.names(); len(names) > 0 {
		return strings.Join(names, ",")
	}
	return s.Verdict
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
