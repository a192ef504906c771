package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"

	"github.com/spf13/cobra"

	"usvs/api"
	"usvs/ipvsadm"
	"usvs/ipvsadm/resolve"
)

func newIPVSAdmCmd() *cobra.Command {
	return &cobra.Command{
		Use:                "ipvsadm ...",
		Short:              "ipvsadm(8) against the director of this network namespace",
		DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			return status(runIPVSAdm("ipvsadm", append([]string{"ipvsadm"}, args...), controlAddress))
		},
	}
}

// runIPVSAdm runs ipvsadm or one of its two companions and returns its exit status.
func runIPVSAdm(tool string, args []string, address string) int {
	client := api.Dial(address)
	defer client.Close()
	run := ipvsadm.Run
	switch tool {
	case "ipvsadm-save":
		run = ipvsadm.RunSave
	case "ipvsadm-restore":
		run = ipvsadm.RunRestore
	}
	code := run(args, client, resolve.SystemResolver(), os.Stdin, os.Stdout, os.Stderr)
	if _, err := client.Info(); errors.Is(err, api.ErrNoDirector) && code == 2 {
		fmt.Fprintln(os.Stderr, noDirector(address))
	}
	return code
}

// noDirector says what to do when nobody answers on the control socket.
func noDirector(address string) string {
	return fmt.Sprintf("No usvs director answers on %s in this network namespace: start one with `usvs run -i INTERFACE` or `usvs run --keepalived FILE`.", address)
}

// explained turns the error of a call that reached no director into advice.
func explained(err error) error {
	if errors.Is(err, api.ErrNoDirector) {
		return errors.New(noDirector(controlAddress))
	}
	return err
}

func status(code int) error {
	if code == 0 {
		return nil
	}
	return exitStatus(code)
}

// markHelp says which part of iptables' language there is.
const markHelp = `Set the firewall marks that services of -f select by. The words are those of
iptables(8) and ip6tables(8); the director applies the rules itself, the
kernel's own rules are another matter. There is the table mangle with its chain
PREROUTING:

  -A -I [N] -D -R N -C -F -Z -L [-n -v -x --line-numbers] -S
  -s -d -p -i --sport --dport, -m multiport, -m mark, -m tcp, -m udp, ! before a match
  -j MARK --set-mark --set-xmark --and-mark --or-mark --xor-mark, -j ACCEPT, -j RETURN

  usvs iptables -t mangle -A PREROUTING -d 10.1.0.5 -p tcp -m multiport --dports 80,443 -j MARK --set-mark 11
  usvs ipvsadm -A -f 11 -s rr`

func newIPTablesCmd(name string, v6 bool) *cobra.Command {
	return &cobra.Command{
		Use:                name + " ...",
		Short:              "Set firewall marks with " + name + "(8) rules of the mangle table",
		DisableFlagParsing: true,
		Long:               markHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && (args[0] == "-h" || args[0] == "--help") {
				return cmd.Help()
			}
			client := api.Dial(controlAddress)
			defer client.Close()
			out, err := client.Iptables(v6, args)
			fmt.Print(out)
			if err != nil {
				return iptablesError(err)
			}
			return nil
		},
	}
}

// iptablesError prints what iptables would and returns its exit status.
func iptablesError(err error) error {
	var told interface{ ExitStatus() int }
	if !errors.As(err, &told) {
		return explained(err)
	}
	fmt.Fprintln(os.Stderr, strings.TrimRight(err.Error(), "\n"))
	return exitStatus(told.ExitStatus())
}

func newStatusCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "What the director has done with the frames it saw, by named reason",
		Args:  noWords(""),
		RunE: func(*cobra.Command, []string) error {
			client := api.Dial(controlAddress)
			defer client.Close()
			raw, err := client.Status()
			if err != nil {
				return explained(err)
			}
			if asJSON {
				fmt.Println(string(bytes.TrimSpace(raw)))
				return nil
			}
			var groups map[string]map[string]uint64
			if err := json.Unmarshal(raw, &groups); err != nil {
				return fmt.Errorf("status: %w", err)
			}
			printStatus(os.Stdout, groups)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

// printStatus prints nested counters as sorted lines below their group, if there
// are any.
func printStatus(w io.Writer, groups map[string]map[string]uint64) {
	for _, g := range sortedKeys(groups) {
		if len(groups[g]) > 0 {
			fmt.Fprintln(w, g)
		}
		for _, name := range sortedKeys(groups[g]) {
			fmt.Fprintf(w, "  %-40s %d\n", name, groups[g][name])
		}
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
