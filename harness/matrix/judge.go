package matrix

import (
	"slices"

	"github.com/ordeal-chaos/ordeal/harness/check"
	"github.com/ordeal-chaos/ordeal/harness/price"
)

// Kind is what became of a cell.
type Kind string

// The kinds of cells. A cell of which one run broke a guarantee breaks, whatever the others did; else one
// of which a run is unknown, or that was not run as often as it should be, is unknown.
const (
	Holds         Kind = "holds"
	Breaks        Kind = "breaks"
	Unknown       Kind = "unknown"
	NotApplicable Kind = "n/a"
)

// Cell is one design in one scenario.
type Cell struct {
	Design   string `json:"design"`
	Scenario string `json:"scenario"`
	Kind     Kind   `json:"kind"`
	// Broke is how often a guarantee broke, of the runs that were judged: those that are unknown say nothing.
	Broke     Share   `json:"broke"`
	Unknown   int     `json:"unknown"` // runs
	Anomalies []Named `json:"anomalies"`
	// Why says why the cell is not applicable, or its runs are unknown.
	Why       []string `json:"why"`
	Histories []string `json:"histories"` // that were kept
	Repeat    string   `json:"repeat"`    // the command of the first run that broke or is unknown
}

// Named is an anomaly in a cell or a design.
type Named struct {
	Name string `json:"name"`
	Share
	// Unexpected says that the literature does not expect it of the design. It is false where nobody said anything.
	Unexpected bool `json:"unexpected"`
}

// Row is one design.
type Row struct {
	Design
	Cells []Cell  `json:"cells"` // in the order of the scenarios
	Price *Priced `json:"price,omitempty"`
	// Anomalies over all scenarios; Never are those expected and not seen in any.
	Anomalies []Named  `json:"anomalies"`
	Never     []string `json:"never"`
	// Guarantees that were given something to judge, in fact: broken somewhere, or held wherever they were judged.
	Held   []string `json:"held"`
	Broken []string `json:"broken"`
}

// Differences counts where the design differs from what is expected of it.
func (r Row) Differences() int {
	n := len(r.Never)
	for _, a := range r.Anomalies {
		if a.Unexpected {
			n++
		}
	}
	return n
}

// Matrix is the whole table, judged.
type Matrix struct {
	Settings
	Rows []Row `json:"rows"`
	// Ran and Planned count runs; they differ when the matrix was interrupted.
	Ran     int `json:"ran"`
	Planned int `json:"planned"`
	// Differences counts those of all designs.
	Differences int `json:"differences"`
	// Outbox answers whether an outbox is worth its cost, where the designs are there that it takes.
	Outbox string `json:"outbox,omitempty"`
}

// Judge makes the table of what was run.
func Judge(settings Settings, runs []Run, prices []Priced) Matrix {
	m := Matrix{Settings: settings, Rows: []Row{}, Ran: len(runs), Planned: len(settings.Jobs())}
	for _, design := range settings.Designs {
		own := filter(runs, func(r Run) bool { return r.Design == design.Name })
		row := Row{Design: design, Cells: []Cell{}, Never: []string{}, Held: []string{}, Broken: []string{}}
		for _, scenario := range settings.Scenarios {
			cell := Cell{
				Design: design.Name, Scenario: scenario.Name,
				Anomalies: []Named{}, Why: []string{}, Histories: []string{},
			}
			if why, absent := settings.absent(design.Name, scenario.Name); absent {
				cell.Kind, cell.Why = NotApplicable, []string{why}
			} else {
				classify(&cell, design, filter(own, func(r Run) bool { return r.Scenario == scenario.Name }), settings.Repeat)
			}
			row.Cells = append(row.Cells, cell)
		}
		row.summarize(own)
		for _, p := range prices {
			if p.Design == design.Name {
				row.Price = &p
			}
		}
		m.Differences += row.Differences()
		m.Rows = append(m.Rows, row)
	}
	m.Outbox = m.outbox()
	return m
}

// UnknownCells counts the cells that say nothing, or not as much as they should.
func (m Matrix) UnknownCells() int {
	n := 0
	for _, row := range m.Rows {
		for _, cell := range row.Cells {
			if cell.Kind == Unknown || cell.Unknown > 0 {
				n++
			}
		}
	}
	return n
}

func (s Settings) absent(design, scenario string) (why string, absent bool) {
	for _, a := range s.Absent {
		if a.Design == design && a.Scenario == scenario {
			return a.Why, true
		}
	}
	return "", false
}

// Job is one run to be done.
type Job struct {
	Design, Scenario string
	Repeat           int
	Seed             uint64
}

// Jobs lists every run of the matrix: all cells once, then all cells again.
func (s Settings) Jobs() []Job {
	var jobs []Job
	for repeat := range s.Repeat {
		for _, scenario := range s.Scenarios {
			for _, design := range s.Designs {
				if _, absent := s.absent(design.Name, scenario.Name); !absent {
					jobs = append(jobs, Job{design.Name, scenario.Name, repeat, s.Seed + uint64(repeat)})
				}
			}
		}
	}
	return jobs
}

// classify says what became of a cell that was to be run so many times.
func classify(cell *Cell, design Design, runs []Run, planned int) {
	judged := 0
	var broke []Run
	for _, run := range runs {
		switch run.Verdict {
		case check.Fail:
			judged++
			broke = append(broke, run)
		case check.Pass:
			judged++
			continue
		default:
			cell.Unknown++
			if !slices.Contains(cell.Why, run.Reason) {
				cell.Why = append(cell.Why, run.Reason)
			}
		}
		if run.History != "" {
			cell.Histories = append(cell.Histories, run.History)
		}
		if cell.Repeat == "" {
			cell.Repeat = run.Command
		}
	}
	cell.Broke = share(len(broke), judged)
	cell.Anomalies = anomalies(design, broke, judged)
	switch {
	case len(broke) > 0:
		cell.Kind = Breaks
	case len(runs) < planned:
		cell.Kind = Unknown
		cell.Why = append(cell.Why, "not run to the end")
	case cell.Unknown > 0:
		cell.Kind = Unknown
	default:
		cell.Kind = Holds
	}
}

// anomalies counts in how many runs each was seen, the most frequent first, else in the order in which they were named.
func anomalies(design Design, broke []Run, judged int) []Named {
	count := map[string]int{}
	var names []string
	for _, run := range broke {
		for _, name := range run.Anomalies {
			if count[name]++; count[name] == 1 {
				names = append(names, name)
			}
		}
	}
	found := []Named{}
	for _, name := range names {
		unexpected := design.Described && !slices.Contains(design.Breaks, name)
		found = append(found, Named{name, share(count[name], judged), unexpected})
	}
	slices.SortStableFunc(found, func(a, b Named) int { return b.Runs - a.Runs })
	return found
}

// summarize fills in what the design does over all scenarios.
func (r *Row) summarize(runs []Run) {
	broke := filter(runs, func(run Run) bool { return run.Verdict == check.Fail })
	judged := len(filter(runs, func(run Run) bool { return run.Verdict != check.Unknown }))
	r.Anomalies = anomalies(r.Design, broke, judged)
	if r.Described && len(runs) > 0 {
		for _, expected := range r.Breaks {
			if !slices.ContainsFunc(r.Anomalies, func(a Named) bool { return a.Name == expected }) {
				r.Never = append(r.Never, expected)
			}
		}
	}
	for _, run := range runs {
		r.Broken = union(r.Broken, run.Broken)
	}
	for _, run := range runs {
		r.Held = union(r.Held, filter(run.Held, func(name string) bool { return !slices.Contains(r.Broken, name) }))
	}
	slices.Sort(r.Broken)
	slices.Sort(r.Held)
}

// figures of a design that were measured.
func (m Matrix) figures(design string) (price.Figures, bool) {
	for _, row := range m.Rows {
		if row.Name == design && row.Price != nil && row.Price.Error == "" {
			return row.Price.Figures, true
		}
	}
	return price.Figures{}, false
}

func filter[T any](list []T, keep func(T) bool) []T {
	var kept []T
	for _, item := range list {
		if keep(item) {
			kept = append(kept, item)
		}
	}
	return kept
}

func union(list, more []string) []string {
	for _, name := range more {
		if !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return list
}
