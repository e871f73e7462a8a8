// Command ordeal runs the catalogue of chaos scenarios, judges saved histories, and says what can run here.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
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
	// The first Ctrl-C stops in good order; the second one is no longer caught.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop)
	os.Exit(code(root().ExecuteContext(ctx)))
}

// exit carries an exit code out of a command whose output is complete.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// code turns a command's error into the exit code, and prints what was not printed yet.
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
  ordeal check ordeal-report/redelivery        # judge a saved history again`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	command.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w: %w (see %s --help)", harness.ErrUsage, err, c.CommandPath())
	})
	command.AddCommand(runCommand(), listCommand(), checkCommand(), doctorCommand())
	usageErrors(command)
	return command
}

// usageErrors makes a wrong number of arguments a usage error, in every command.
func usageErrors(command *cobra.Command) {
	if check := command.Args; check != nil {
		command.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return fmt.Errorf("%w: %w (see %s --help)", harness.ErrUsage, err, c.CommandPath())
			}
			return nil
		}
	}
	for _, child := range command.Commands() {
		usageErrors(child)
	}
}
