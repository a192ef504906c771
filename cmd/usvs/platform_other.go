//go:build !linux

package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

// addPlatformCommands adds what only Linux can do, as commands that say so.
func addPlatformCommands(root *cobra.Command) {
	for _, name := range []string{"run", "realserver", "demo", "exec"} {
		root.AddCommand(&cobra.Command{
			Use:   name,
			Short: "Needs Linux",
			RunE: func(*cobra.Command, []string) error {
				return fmt.Errorf("usvs %s needs Linux: AF_PACKET, TUN, seccomp and network namespaces do not exist on %s", name, runtime.GOOS)
			},
		})
	}
}
