package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"usvs/api"
	"usvs/ipvs"
	"usvs/procnet"
)

func newProcCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "proc [NAME]",
		Short: "Print what the kernel's IPVS would have in /proc/net: ip_vs, ip_vs_conn, ip_vs_stats, ...",
		Long: `Print a file that the kernel's IPVS would have in /proc/net, for programs that
read it; without a NAME, list the files.

  usvs proc ip_vs_stats`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			out := c.OutOrStdout()
			if len(args) == 0 {
				fmt.Fprintln(out, strings.Join(procnet.Names(), "\n"))
				return nil
			}
			client := api.Dial(controlAddress)
			defer client.Close()
			return printProc(client, out, args[0])
		},
	}
}

func printProc(client *api.Client, out io.Writer, name string) error {
	name = strings.TrimPrefix(name, procnet.Dir+"/")
	err := client.WriteProc(out, name)
	if errors.Is(err, ipvs.ErrNoEntry) {
		return fmt.Errorf("there is no %s/%s: NAME is one of %s", procnet.Dir, name, strings.Join(procnet.Names(), ", "))
	}
	return explained(err)
}
