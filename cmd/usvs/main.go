// Usvs is the Linux Virtual Server without the kernel module: a director that
// forwards packets in user space, and the tools to drive it.
//
// Called as ipvsadm, ipvsadm-save or ipvsadm-restore (through a link), it is
// that program.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"usvs/api"
)

// version is set by the release build: -ldflags "-X main.version=1.2.3".
var version = "development"

// exitStatus carries a command's exit status through cobra.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

func main() {
	switch tool := filepath.Base(os.Args[0]); tool {
	case "ipvsadm", "ipvsadm-save", "ipvsadm-restore":
		os.Exit(runIPVSAdm(tool, os.Args, controlFromEnv()))
	}
	err := newRoot().Execute()
	switch status := err.(type) {
	case nil:
	case exitStatus:
		os.Exit(int(status))
	default:
		fmt.Fprintln(os.Stderr, "usvs:", err)
		os.Exit(1)
	}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "usvs",
		Short: "The Linux Virtual Server in user space",
		Long: `usvs forwards packets for virtual services as Linux IPVS does, without the
kernel module: by direct routing, NAT and tunnelling, with ipvsadm's commands.

  usvs demo                         see all three modes at work, nothing to set up
  usvs run -i eth0 --rules FILE     the director
  usvs run --keepalived FILE        the whole node: with health checks and VRRP
  usvs ipvsadm -A -t 10.0.0.1:80    the commands you know
  usvs exec keepalived -n -l        unmodified programs that know the kernel's`,
		Version:          version,
		SilenceErrors:    true,
		SilenceUsage:     true,
		TraverseChildren: true,
		Args:             knownCommand,

		SuggestionsMinimumDistance: 2, // letters
		RunE:                       helpOnly,
	}
	root.PersistentFlags().StringVar(&controlAddress, "control", controlFromEnv(),
		"control socket: @NAME (abstract, one per network namespace) or a path; $USVS_CONTROL")
	root.AddCommand(newIPVSAdmCmd(), newIPTablesCmd("iptables", false), newIPTablesCmd("ip6tables", true), newSysctlCmd(),
		newStatusCmd(), newVRRPCmd(), newHealthCmd(), newProcCmd(), newTraceCmd(), newExplainCmd(), newSimCmd(), newOracleCmd(), newCheckCmd(), newPlanCmd(), newChaosCmd(), newBenchCmd())
	addPlatformCommands(root)
	return root
}

// badUsage gives a command whose exit status 1 has a meaning another status for
// arguments and options that are wrong.
func badUsage(cmd *cobra.Command, status int) *cobra.Command {
	complain := func(cmd *cobra.Command, err error) error {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: %v\n", cmd.CommandPath(), err)
		return exitStatus(status)
	}
	check := cmd.Args
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return complain(cmd, err)
		}
		return nil
	}
	cmd.SetFlagErrorFunc(complain)
	return cmd
}

// controlAddress is the address of the control socket.
var controlAddress string

func controlFromEnv() string {
	return api.Address("")
}
