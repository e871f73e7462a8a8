// Command compare judges whether two backends give the same verdicts: it reads the JSON reports of the same runs on
// both, prints a row for each scenario and removed guard, and exits 1 when one differs without a written reason.
// [Compare] says what counts as a difference.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"

	ordeal "github.com/ordeal-chaos/ordeal"
)

const (
	exitDiffers = 1
	exitUsage   = 64
)

func main() {
	flags := flag.NewFlagSet("compare", flag.ContinueOnError)
	reasons := flags.String("reasons", "testdata/parity.yaml", "file with the differences that have a reason")
	cases := flags.Bool("cases", false, "print the guards to remove, the brokers that it takes to show each, and the scenarios that do")
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "compare [-reasons FILE] DIR_A DIR_B\ncompare -cases\n"+
			"Each directory is a backend's; it holds NAME/report.json of the sound design (NAME \"sound\") and of each removed guard.")
		flags.PrintDefaults()
	}
	err := flags.Parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if want := map[bool]int{true: 0, false: 2}[*cases]; err != nil || flags.NArg() != want {
		flags.Usage()
		os.Exit(exitUsage)
	}
	mutants, err := ordeal.ListMutants()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitUsage)
	}
	if *cases {
		printCases(os.Stdout, removals(mutants))
		return
	}
	same, err := run(os.Stdout, flags.Arg(0), flags.Arg(1), *reasons, removals(mutants))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitUsage)
	}
	if !same {
		os.Exit(exitDiffers)
	}
}
