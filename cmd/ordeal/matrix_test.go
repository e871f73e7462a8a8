package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/harness/check"
	"github.com/ordeal-chaos/ordeal/harness/matrix"
)

// twoByTwo is a small matrix, without prices.
var twoByTwo = []string{
	"matrix", "--designs", "sound,after-commit", "--scenarios", "redelivery,killed-after-commit", "--no-price", "--parallel", "1",
}

// TestMatrix interrupts a small matrix after its first run, and goes on with it.
func TestMatrix(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	first := s.start(t, append(twoByTwo, "--out", s.out)...)
	first.await(t, "1 of 4 runs")
	first.interrupt(t)
	first.requireCode(t, exitInterrupted)
	require.Contains(t, first.stdout.String(), "of 4 runs were made: ordeal matrix --resume goes on")
	require.Contains(t, first.stderr.String(), "interrupted: --resume goes on")
	begun, err := os.ReadFile(filepath.Join(s.out, matrix.BookFile))
	require.NoError(t, err)

	t.Run("refused", func(t *testing.T) {
		again := s.run(t, append(twoByTwo, "--out", s.out)...)
		again.requireCode(t, exitUsage)
		require.Contains(t, again.stderr.String(), "holds a matrix that is not done")
		other := s.run(t, append(twoByTwo, "--out", s.out, "--resume", "--repeat", "2")...)
		other.requireCode(t, exitUsage)
		require.Contains(t, other.stderr.String(), "repeat: 1 then, 2 now")
	})
	second := s.run(t, append(twoByTwo, "--out", s.out, "--resume", "--json")...)
	second.requireCode(t, exitPass)
	whole, err := os.ReadFile(filepath.Join(s.out, matrix.BookFile))
	require.NoError(t, err)
	require.Equal(t, string(begun), string(whole[:len(begun)]), "what was done stays")

	var said matrix.Matrix
	require.NoError(t, json.Unmarshal([]byte(second.stdout.String()), &said))
	require.Equal(t, [2]int{4, 4}, [2]int{said.Ran, said.Planned})
	kinds := map[string]matrix.Kind{}
	for _, row := range said.Rows {
		for _, cell := range row.Cells {
			kinds[cell.Design+" "+cell.Scenario] = cell.Kind
		}
	}
	require.Equal(t, map[string]matrix.Kind{
		"sound redelivery": matrix.Holds, "sound killed-after-commit": matrix.Holds,
		"after-commit redelivery": matrix.Holds, "after-commit killed-after-commit": matrix.Breaks,
	}, kinds)
	broken := said.Rows[1].Cells[1]
	require.Equal(t, check.LostEvent, broken.Anomalies[0].Name)
	require.Regexp(t, `run killed-after-commit --design after-commit --seed \d+$`, broken.Repeat)
	require.Len(t, broken.Histories, 1)
	require.FileExists(t, filepath.Join(s.out, broken.Histories[0], historyFile))
	histories, err := filepath.Glob(filepath.Join(s.out, runsFolder, "*", "*", "*"))
	require.NoError(t, err)
	require.Len(t, histories, 1, "what held is not kept")
	require.FileExists(t, filepath.Join(s.out, matrixPage))
	require.FileExists(t, filepath.Join(s.out, matrixJSON))
}

func TestMatrixUsage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for said, args := range map[string][]string{
		`no design "soud": did you mean "sound"?`:                       {"--designs", "soud"},
		`contradict each other: both are about stock`:                   {"--designs", "version-column+redis-counter"},
		`no scenario "redelivry"; nearest: redelivery`:                  {"--scenarios", "redelivry"},
		`scenario "leader-loss" needs three separate brokers`:           {"--scenarios", "leader-loss"},
		`--repeat -1: it cannot be negative`:                            {"--repeat", "-1"},
		`--repeat 0 runs no scenario, and --no-price measures no price`: {"--repeat", "0", "--no-price"},
		`--parallel 0: at least one scenario`:                           {"--parallel", "0"},
		`--seed x: not a whole number`:                                  {"--seed", "x"},
		`matrix takes no arguments`:                                     {"sound"},
	} {
		run := s.run(t, append([]string{"matrix", "--out", s.out}, args...)...)
		run.requireCode(t, exitUsage)
		require.Contains(t, run.stderr.String(), said)
		require.NoDirExists(t, s.out, "nothing was started")
	}
}
