package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"usvs/api"
	"usvs/control"
	"usvs/explain"
	"usvs/ipvsadm/resolve"
	"usvs/link/pcap"
	"usvs/wire"
)

// explainFlags are what `usvs explain` was told.
type explainFlags struct {
	rules   string
	network explain.Options
	own     string
	in      string
	pcap    string
	count   int
	asJSON  bool
}

func newExplainCmd() *cobra.Command {
	var f explainFlags
	cmd := &cobra.Command{
		Use:   "explain PACKET...",
		Short: "What would happen to a packet, stage by stage and why; nothing is changed",
		Long: `Say what the director would do with packets: mark, service, template,
connection, the scheduler's arithmetic, route, MTU, rewriting, or the named drop.
Without --rules the running director answers, on a private copy of itself. With
--rules the rules are read from a file, and the network is made up or described.
Packets are handled in their order, each after what the one before did.

` + explain.Grammar,
		Example: `  usvs explain 'tcp 198.51.100.7:40000 > 10.9.0.1:80 S'
  usvs explain --rules web.rules --iface eth0=10.1.0.1/24 'udp 10.1.0.9:5000 > 10.9.0.1:53 len=100'`,
		RunE: func(cmd *cobra.Command, args []string) error { return runExplain(cmd.OutOrStdout(), f, args) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.rules, "rules", "", "file of rules, instead of the running director")
	fl.StringArrayVar(&f.network.Interfaces, "iface", nil, "with --rules: an interface, NAME[=PREFIX,...][,mtu=N][,tun]; repeat for several")
	fl.StringArrayVar(&f.network.Routes, "route", nil, "with --rules: a route, 'PREFIX dev NAME' or 'PREFIX via GATEWAY'")
	fl.StringArrayVar(&f.network.Addrs, "addr", nil, "with --rules: a further address of the host")
	fl.StringVar(&f.own, "own", "services", "with --rules: which virtual addresses are ours, services or host")
	fl.StringVar(&f.in, "in", "", "the interface the packets come in through; default: the one that leads to their source")
	fl.StringVar(&f.pcap, "pcap", "", "explain the frames of this capture")
	fl.IntVarP(&f.count, "count", "c", 20, "at most so many frames of the capture")
	fl.BoolVar(&f.asJSON, "json", false, "the answer as JSON")
	return cmd
}

func runExplain(out io.Writer, f explainFlags, args []string) error {
	q, err := explainRequest(f, args)
	if err != nil {
		return err
	}
	var r *explain.Report
	if f.rules != "" {
		r, err = explainRules(f, q)
	} else {
		r, err = explainRunning(f, q)
	}
	if err != nil {
		return err
	}
	if f.asJSON {
		e := json.NewEncoder(out)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	_, err = r.WriteTo(out)
	return err
}

// explainRequest reads the packets. One that was not quoted is several words.
func explainRequest(f explainFlags, args []string) (*explain.Request, error) {
	q := &explain.Request{Packets: args, Interface: f.in}
	if len(args) > 0 && !strings.Contains(args[0], " ") {
		q.Packets = []string{strings.Join(args, " ")}
	}
	if f.pcap == "" {
		if len(args) == 0 {
			return nil, errors.New("which packet? For example: usvs explain 'tcp 198.51.100.7:40000 > 10.9.0.1:80 S'")
		}
		return q, nil
	}
	in, err := os.Open(f.pcap)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	enough := errors.New("enough")
	err = pcap.Read(in, func(data []byte, m wire.Medium) error {
		if len(q.Frames) == f.count {
			return enough
		}
		q.Frames = append(q.Frames, explain.Captured{Data: data, Medium: m})
		return nil
	})
	if err != nil && err != enough {
		return nil, fmt.Errorf("%s: %w", f.pcap, err)
	}
	return q, nil
}

func explainRules(f explainFlags, q *explain.Request) (*explain.Report, error) {
	switch f.own {
	case "services":
	case "host":
		f.network.Own = control.OwnHost
	default:
		return nil, fmt.Errorf("--own %q: want services or host", f.own)
	}
	f.network.Resolver = resolve.SystemResolver()
	in, err := os.Open(f.rules)
	if err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	defer in.Close()
	b, err := explain.New(f.network, f.rules, in)
	if err != nil {
		return nil, err
	}
	return b.Answer(q)
}

func explainRunning(f explainFlags, q *explain.Request) (*explain.Report, error) {
	if len(f.network.Interfaces)+len(f.network.Routes)+len(f.network.Addrs) > 0 {
		return nil, errors.New("--iface, --route and --addr describe a network for --rules; the running director has one")
	}
	client := api.Dial(controlAddress)
	defer client.Close()
	var r explain.Report
	return &r, explained(client.Explain(q, &r))
}
