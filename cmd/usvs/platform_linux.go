package main

import "github.com/spf13/cobra"

// addPlatformCommands adds what only Linux can do.
func addPlatformCommands(root *cobra.Command) {
	root.AddCommand(newRunCmd(), newRealServerCmd(), newDemoCmd(), newExecCmd())
}
