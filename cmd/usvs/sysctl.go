package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"usvs/api"
	"usvs/ipvs"
	"usvs/sysctl"
)

func newSysctlCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "sysctl [-w] [-n] [-a] [-r RE] net.ipv4.vs.KEY[=VALUE]...",
		Short: "Show or change the director's settings, as sysctl(8) does those of net.ipv4.vs",
		Long: `Show or change the running director's settings. Names, values, output and
errors are those of sysctl(8) for net.ipv4.vs; docs/sysctl.md lists them.

  usvs sysctl -a
  usvs sysctl -w net.ipv4.vs.expire_nodest_conn=1

Every option: usvs sysctl --help. What is set lasts until the director ends; to
keep it, put the line into the rules file or start with usvs run --sysctl.`,
		DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			client := api.Dial(controlAddress)
			defer client.Close()
			return runSysctl(args, client)
		},
	}
}

// runSysctl says plainly if there is no director to ask.
func runSysctl(args []string, client *api.Client) error {
	if _, err := client.Info(); err != nil && len(args) > 0 && args[0] != "-h" && args[0] != "--help" {
		return explained(err)
	}
	return status(sysctl.Run(args, client, os.Stdout, os.Stderr))
}

// initialSysctls are the defaults with what --sysctl changes: KEY=VALUE, with or
// without net.ipv4.vs. in front.
func initialSysctls(words []string) (ipvs.Sysctls, error) {
	s := ipvs.DefaultSysctls()
	for _, w := range words {
		name, value, ok := strings.Cut(w, "=")
		if !ok {
			return s, fmt.Errorf("--sysctl %q: want KEY=VALUE", w)
		}
		name = strings.TrimPrefix(strings.ReplaceAll(name, "/", "."), sysctl.Prefix)
		if err := s.SetSysctl(name, value); err != nil {
			return s, fmt.Errorf("--sysctl %q: %w", w, err)
		}
	}
	return s, nil
}
