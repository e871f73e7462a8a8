// Package guard owns what a running service knows of the guards that were removed from it, and says in the log when
// the lack of one first mattered.
package guard

import (
	"log/slog"
	"sync"

	"github.com/ordeal-chaos/ordeal/services"
)

// Reached is the log message that says that a removed guard would have acted; the attribute "guard" names it.
// Without that line, a planted bug never ran.
const Reached = services.GuardMissing

// Set is the removed guards of one service. It is safe for concurrent use. A nil Set lacks none.
type Set struct {
	without services.Without
	log     *slog.Logger
	said    sync.Map
}

// New returns the set of guards that a service runs without.
func New(without services.Without, log *slog.Logger) *Set {
	return &Set{without: without, log: log}
}

// Lacks reports whether a guard was removed, at the place where it would act: the first time that it was, the log says so.
func (s *Set) Lacks(name string) bool {
	if s == nil || !s.without.Lacks(name) {
		return false
	}
	if _, said := s.said.LoadOrStore(name, true); !said {
		s.log.Info(Reached, "guard", name)
	}
	return true
}

// Removed is Lacks where a part is chosen and nothing happens yet: the log says nothing of it.
func (s *Set) Removed(name string) bool { return s != nil && s.without.Lacks(name) }
