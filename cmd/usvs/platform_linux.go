package main

import (
	"github.com/spf13/cobra"

	"usvs/host"
)

// addPlatformCommands adds what only Linux can do.
func addPlatformCommands(root *cobra.Command) {
	root.AddCommand(newRunCmd(), newRealServerCmd(), newDemoCmd(), newExecCmd(), newGuardCmd())
}

// newGuardCmd is what usvs run starts beside itself.
func newGuardCmd() *cobra.Command {
	return &cobra.Command{
		Use:    host.GuardCommand,
		Short:  "Take virtual addresses off the interfaces when usvs run is killed",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE:   func(*cobra.Command, []string) error { return host.RunGuard() },
	}
}
