package report

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/ordeal-chaos/ordeal/harness/check"
)

// painter colours words for a terminal; false leaves them plain.
type painter bool

func (p painter) paint(code, s string) string {
	if !p {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p painter) bold(s string) string   { return p.paint("1", s) }
func (p painter) dim(s string) string    { return p.paint("2", s) }
func (p painter) red(s string) string    { return p.paint("31", s) }
func (p painter) green(s string) string  { return p.paint("32", s) }
func (p painter) yellow(s string) string { return p.paint("33", s) }

// verdict gives a verdict its colour. A word goes with every colour, for those who cannot tell them apart.
func (p painter) verdict(v check.Verdict, s string) string {
	switch v {
	case check.Pass:
		return p.green(s)
	case check.Fail:
		return p.red(s)
	default:
		return p.yellow(s)
	}
}

// Terminal says whether f is a terminal.
func Terminal(f *os.File) bool {
	_, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	return err == nil && os.Getenv("TERM") != "dumb"
}

// Colour says whether text for f may be coloured: it is a terminal, and NO_COLOR is not set
// (https://no-color.org).
func Colour(f *os.File) bool { return os.Getenv("NO_COLOR") == "" && Terminal(f) }

// size is the number of columns and rows of a terminal, 80 by 24 when it does not say.
func size(f *os.File) (columns, rows int) {
	window, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil || window.Col == 0 || window.Row == 0 {
		return 80, 24
	}
	return int(window.Col), int(window.Row)
}

// Columns is the width of the terminal f, or 0 where f is none.
func Columns(f *os.File) int {
	if !Terminal(f) {
		return 0
	}
	columns, _ := size(f)
	return columns
}
