package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ordeal-chaos/ordeal/harness"
)

// explainUsage makes every mistake in a command line, of root or of its children, an error that wraps
// [harness.ErrUsage] and names what was probably meant.
func explainUsage(root *cobra.Command) {
	root.SetFlagErrorFunc(flagError)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, child := range root.Commands() {
		// Cobra helps with the rest of the line unread, and exits with 0.
		switch child.Name() {
		case "help":
			child.Args = knownCommand
		case "completion":
			child.Args = knownCommand
			child.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
		}
	}
	wrapArgs(root)
}

func wrapArgs(command *cobra.Command) {
	if check := command.Args; check != nil {
		command.Args = func(c *cobra.Command, args []string) error {
			err := check(c, args)
			if err == nil || errors.Is(err, harness.ErrUsage) {
				return err
			}
			return usage(c, err)
		}
	}
	for _, child := range command.Commands() {
		wrapArgs(child)
	}
}

func usage(c *cobra.Command, err error) error {
	return fmt.Errorf("%w: %w (see %s --help)", harness.ErrUsage, err, c.CommandPath())
}

// knownCommand refuses what is left of a command line once its commands were found.
func knownCommand(c *cobra.Command, args []string) error {
	from := c
	if c.Name() == "help" {
		from = c.Root() // it is about a command, from the top
	}
	found, rest, err := from.Find(args)
	if err != nil {
		return usage(c, err)
	}
	if len(rest) == 0 {
		return nil
	}
	if !found.HasAvailableSubCommands() {
		return usage(found, fmt.Errorf("no help about %q", strings.Join(rest, " ")))
	}
	var names []string
	for _, child := range found.Commands() {
		if child.IsAvailableCommand() {
			names = append(names, child.Name())
		}
	}
	return usage(found, fmt.Errorf("no command %q; nearest: %s", rest[0], strings.Join(harness.Nearest(rest[0], names, 2), ", ")))
}

// noArguments refuses all arguments.
func noArguments(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(c, fmt.Errorf("%s takes no arguments, not %q", c.Name(), strings.Join(args, " ")))
	}
	return nil
}

// flagError explains a flag that does not exist, or a value that it cannot have.
func flagError(c *cobra.Command, err error) error {
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		return usage(c, fmt.Errorf("--%s %s: %s", invalid.GetFlag().Name, invalid.GetValue(), whyInvalid(invalid)))
	}
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) || unknown.GetSpecifiedShortnames() != "" {
		return usage(c, err)
	}
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	var nearest []string
	for _, name := range harness.Nearest(unknown.GetSpecifiedName(), names, 2) {
		nearest = append(nearest, "--"+name)
	}
	return usage(c, fmt.Errorf("%w; nearest: %s", err, strings.Join(nearest, ", ")))
}

// whyInvalid says what is wrong with a flag's value, in the user's words and not in those of strconv.
func whyInvalid(err *pflag.InvalidValueError) string {
	switch kind := err.GetFlag().Value.Type(); {
	case errors.Is(err, strconv.ErrRange):
		return "too large"
	case kind == "bool":
		return "neither true nor false"
	case strings.HasPrefix(kind, "int"), strings.HasPrefix(kind, "uint"):
		return "not a whole number"
	default:
		return err.Unwrap().Error()
	}
}
