package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"usvs/api"
	"usvs/clock"
	"usvs/health"
	lvs "usvs/node"
	"usvs/vrrp"
)

func newVRRPCmd() *cobra.Command {
	return newStateCmd("vrrp", "What the VRRP instances of usvs run --keepalived are doing",
		func(s *lvs.Status) any { return vrrpJSON{s.Now, s.VRRP} }, func(s *lvs.Status, w io.Writer) error { return s.WriteVRRP(w) })
}

func newHealthCmd() *cobra.Command {
	return newStateCmd("health", "What the health checks of usvs run --keepalived have found",
		func(s *lvs.Status) any { return healthJSON{s.Now, s.Health} }, func(s *lvs.Status, w io.Writer) error { return s.WriteHealth(w) })
}

// What --json prints: the part, and the time that its times are to be compared
// with.
type (
	vrrpJSON struct {
		Now clock.Instant `json:"now"`
		vrrp.Status
	}
	healthJSON struct {
		Now clock.Instant `json:"now"`
		health.Status
	}
)

// newStateCmd is a command that shows a part of a node's state, as a table or
// as JSON.
func newStateCmd(name, short string, part func(*lvs.Status) any, table func(*lvs.Status, io.Writer) error) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   name + " [--json]",
		Short: short,
		Args:  noWords(""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := nodeState()
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if !asJSON {
				return table(s, out)
			}
			e := json.NewEncoder(out)
			e.SetIndent("", "  ")
			return e.Encode(part(s))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

// nodeState asks the director.
func nodeState() (*lvs.Status, error) {
	client := api.Dial(controlAddress)
	defer client.Close()
	raw, err := client.Node()
	if err != nil {
		return nil, explained(err)
	}
	s := new(lvs.Status)
	if err := json.Unmarshal(raw, s); err != nil {
		return nil, fmt.Errorf("the director's answer: %w", err)
	}
	return s, nil
}
