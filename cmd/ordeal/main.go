// Command ordeal runs the catalogue of chaos scenarios, judges saved histories, and says what can run here.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	ordeal "github.com/ordeal-chaos/ordeal"
	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/stack"
)

// Exit codes.
const (
	exitPass        = 0
	exitFail        = 1 // a guarantee broke
	exitUnknown     = 2 // nothing was proven either way
	exitUsage       = 64
	exitHarness     = 70 // the harness itself failed
	exitInterrupted = 130
)

func main() {
	stack.Dispatch(ordeal.Programs()...)
	// The first Ctrl-C stops in good order. The second one is no longer caught and ends the process at
	// once; the reaper then removes what it left.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop)
	os.Exit(code(root().ExecuteContext(ctx)))
}

// exit is the error of a command that has said all there is to say, and ends with this code.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// code prints a command's error and turns it into the exit code.
func code(err error) int {
	var done exit
	switch {
	case err == nil:
		return exitPass
	case errors.As(err, &done):
		return int(done)
	}
	fmt.Fprintln(os.Stderr, "ordeal:", err)
	switch {
	case errors.Is(err, harness.ErrUsage):
		return exitUsage
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	default:
		return exitHarness
	}
}

func root() *cobra.Command {
	command := &cobra.Command{
		Use:   "ordeal",
		Short: "Put event-driven order and stock services through an ordeal",
		Long: `Ordeal starts Kafka and Postgres behind links that it can break, runs order and stock services
on them, drives orders, injects faults, and proves from evidence whether the consistency guarantees held.

Exit codes: 0 pass, 1 a guarantee broke, 2 unknown (nothing was proven), 64 usage, 70 the harness
itself failed, 130 interrupted.`,
		Example: `  ordeal run                                   # the whole catalogue, report in ordeal-report/
  ordeal run redelivery --without inbox-dedup  # plant a bug and see it named
  ordeal mutants                               # every planted bug: is it found by name?
  ordeal check ordeal-report/redelivery        # judge a saved history again
  ordeal list                                  # scenarios, designs, guards, faults, guarantees`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          knownCommand,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	command.Version = version(debug.ReadBuildInfo())
	command.AddCommand(runCommand(), mutantsCommand(), listCommand(), checkCommand(), doctorCommand())
	explainUsage(command)
	return command
}

// version says what was built: "v0.1.0, revision 0123456789ab, modified".
func version(info *debug.BuildInfo, ok bool) string {
	const unreleased = "(devel)"
	if !ok {
		return unreleased
	}
	text := cmp.Or(info.Main.Version, unreleased)
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if revision := settings["vcs.revision"]; revision != "" {
		text += ", revision " + revision[:min(12, len(revision))]
	}
	if settings["vcs.modified"] == "true" {
		text += ", modified"
	}
	return text
}
