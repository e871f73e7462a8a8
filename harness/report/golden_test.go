package report

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

func TestGolden(t *testing.T) {
	formats := map[string]func(io.Writer, Run) error{
		JSONFile: WriteJSON, JUnitFile: WriteJUnit, MarkdownFile: WriteMarkdown, HTMLFile: WriteHTML,
		"terminal.txt":        func(w io.Writer, run Run) error { return WriteTerminal(w, run, false) },
		"terminal-colour.txt": func(w io.Writer, run Run) error { return WriteTerminal(w, run, true) },
	}
	for name, write := range formats {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			require.NoError(t, write(&out, fixture()))
			path := filepath.Join("testdata", name)
			if *update {
				require.NoError(t, os.WriteFile(path, out.Bytes(), 0o644))
			}
			want, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, string(want), out.String(), "run go test -update and look at the difference")
		})
	}
}
