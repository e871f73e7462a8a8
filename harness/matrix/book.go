package matrix

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// BookFile is the name of a matrix's book in its folder.
const BookFile = "matrix.jsonl"

// line is one line of the book; one field is set.
type line struct {
	Settings *Settings `json:"settings,omitempty"`
	Run      *Run      `json:"run,omitempty"`
	Price    *Priced   `json:"price,omitempty"`
	// Done says that nothing of the matrix was left to do.
	Done bool `json:"done,omitempty"`
}

// Book is what was done of a matrix, saved line by line as it is done. It is safe for concurrent use.
type Book struct {
	Settings Settings

	mu     sync.Mutex
	file   *os.File // nil where the book was only read
	runs   []Run
	prices []Priced
	done   bool
	whole  int64 // bytes of the lines that were read
}

// Read reads the book in the folder. A line that a crash cut short is left out. It is an error that wraps
// [fs.ErrNotExist] when there is no book.
func Read(dir string) (*Book, error) {
	data, err := os.ReadFile(filepath.Join(dir, BookFile))
	if err != nil {
		return nil, fmt.Errorf("read matrix: %w", err)
	}
	b := &Book{}
	for n := 1; ; n++ {
		text, rest, ended := bytes.Cut(data, []byte("\n"))
		if !ended {
			break // it was being written
		}
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			return nil, fmt.Errorf("read matrix: %s, line %d: %w", filepath.Join(dir, BookFile), n, err)
		}
		switch {
		case l.Settings != nil:
			b.Settings = *l.Settings
		case n == 1:
			return nil, fmt.Errorf("read matrix: %s does not begin with settings", filepath.Join(dir, BookFile))
		case l.Run != nil:
			b.runs = append(b.runs, *l.Run)
		case l.Price != nil:
			b.prices = append(b.prices, *l.Price)
		}
		b.done = l.Done
		b.whole += int64(len(text)) + 1
		data = rest
	}
	if b.whole == 0 {
		return nil, fmt.Errorf("read matrix: %s is empty: %w", filepath.Join(dir, BookFile), fs.ErrNotExist)
	}
	return b, nil
}

// Create begins the book of a new matrix in the folder, in place of an older one.
func Create(dir string, settings Settings) (*Book, error) {
	file, err := os.Create(filepath.Join(dir, BookFile))
	if err != nil {
		return nil, fmt.Errorf("create matrix: %w", err)
	}
	b := &Book{Settings: settings, file: file}
	if err := b.add(line{Settings: &settings}); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return b, nil
}

// Resume opens the book in the folder, which must be of the same settings, to go on with it. The error says what
// differs.
func Resume(dir string, settings Settings) (*Book, error) {
	b, err := Read(dir)
	if err != nil {
		return nil, err
	}
	if differ := Differences(b.Settings, settings); len(differ) > 0 {
		return nil, &DifferentError{Dir: dir, Differences: differ}
	}
	b.Settings = settings // with what is expected of the designs by now
	file, err := os.OpenFile(filepath.Join(dir, BookFile), os.O_WRONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("resume matrix: %w", err)
	}
	b.file = file
	_, err = file.Seek(b.whole, 0)
	if err := errors.Join(file.Truncate(b.whole), err); err != nil {
		return nil, fmt.Errorf("resume matrix: %w", errors.Join(err, file.Close()))
	}
	return b, nil
}

// DifferentError says that a folder holds another matrix.
type DifferentError struct {
	Dir         string
	Differences []string
}

// Error implements error.
func (e *DifferentError) Error() string {
	text := fmt.Sprintf("the matrix in %s has other settings:", e.Dir)
	for _, difference := range e.Differences {
		text += "\n  " + difference
	}
	return text
}

// AddRun saves what became of a run.
func (b *Book) AddRun(r Run) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.runs = append(b.runs, r)
	return b.add(line{Run: &r})
}

// AddPrice saves what a design costs.
func (b *Book) AddPrice(p Priced) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.prices = append(b.prices, p)
	return b.add(line{Price: &p})
}

// End saves that nothing is left to do.
func (b *Book) End() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done = true
	return b.add(line{Done: true})
}

// Done says whether nothing was left to do.
func (b *Book) Done() bool { return b.done }

// Close closes the file.
func (b *Book) Close() error { return b.file.Close() }

// add writes a line, at once.
func (b *Book) add(l line) error {
	text, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("encode matrix: %w", err)
	}
	if _, err := b.file.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("save matrix: %w", err)
	}
	return nil
}

// Matrix judges what was done until now.
func (b *Book) Matrix() Matrix {
	b.mu.Lock()
	defer b.mu.Unlock()
	return Judge(b.Settings, b.runs, b.prices)
}

// LeftToRun lists the jobs that have no run.
func (b *Book) LeftToRun() []Job {
	b.mu.Lock()
	defer b.mu.Unlock()
	ran := map[Job]bool{}
	for _, r := range b.runs {
		ran[Job{r.Design, r.Scenario, r.Repeat, r.Seed}] = true
	}
	return filter(b.Settings.Jobs(), func(j Job) bool { return !ran[j] })
}

// LeftToPrice lists the designs that have no price and should have one.
func (b *Book) LeftToPrice() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.Settings.Price == nil {
		return nil
	}
	priced := map[string]bool{}
	for _, p := range b.prices {
		priced[p.Design] = true
	}
	return filter(designNames(b.Settings.Designs), func(name string) bool { return !priced[name] })
}

// Worth says whether the history of a run should be kept: it is the first of its cell that names one of its
// anomalies, or, of those that are unknown, the first that gives its reason.
func (b *Book) Worth(r Run) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.Verdict.String() == "pass" {
		return false
	}
	seen := map[string]bool{}
	for _, other := range b.runs {
		if other.Design == r.Design && other.Scenario == r.Scenario {
			for _, news := range other.news() {
				seen[news] = true
			}
		}
	}
	for _, news := range r.news() {
		if !seen[news] {
			return true
		}
	}
	return false
}

// news is what a kept history would show.
func (r Run) news() []string {
	if len(r.Anomalies) > 0 {
		return r.Anomalies
	}
	return []string{"unknown"}
}
