package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// noWords is for a command that has only options; hint says what a word may have
// been meant as.
func noWords(hint string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return fmt.Errorf("%s takes no words besides its options, but here is %q%s", cmd.CommandPath(), args[0], hint)
	}
}

// someWords is for a command that is of no use without words, and says which.
func someWords(which string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return nil
		}
		return fmt.Errorf("which %s? %s", which, cmd.UseLine())
	}
}

// knownCommand refuses what is no command, and says what may have been meant.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return fmt.Errorf("there is no command %q; did you mean %s %s?", args[0], cmd.CommandPath(), near[0])
	}
	return fmt.Errorf("there is no command %q; %s --help lists them", args[0], cmd.CommandPath())
}

// helpOnly is what a command does that only has others below it.
func helpOnly(cmd *cobra.Command, _ []string) error { return cmd.Help() }
