package check

import "strings"

// symbol stands for one string of a view; zero stands for the empty string.
type symbol uint32

// symbols keeps each distinct string once: ids repeat in rows, records, headers and wire tokens, and
// a string cut from a line of the file would keep the whole line alive.
type symbols struct {
	ids   map[string]symbol
	names []string
}

func newSymbols() *symbols {
	return &symbols{ids: make(map[string]symbol), names: []string{""}}
}

func (s *symbols) of(text string) symbol {
	if text == "" {
		return 0
	}
	if id, ok := s.ids[text]; ok {
		return id
	}
	id := symbol(len(s.names))
	text = strings.Clone(text)
	s.ids[text] = id
	s.names = append(s.names, text)
	return id
}

// known is the symbol of a text that was seen before, else zero.
func (s *symbols) known(text string) symbol { return s.ids[text] }

func (s *symbols) name(id symbol) string { return s.names[id] }

func (s *symbols) intern(text string) string { return s.names[s.of(text)] }
