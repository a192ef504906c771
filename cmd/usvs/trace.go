package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"

	"github.com/spf13/cobra"

	"usvs/api"
	"usvs/director"
	"usvs/wire"
)

func newTraceCmd() *cobra.Command {
	var most int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "trace",
		Short: "Show what the director does to each frame: before, after, and why",
		Long: `Show every frame the director receives, the frames that leave because of it,
and the named reason for how it ended. Frames are copied for this: use it to
look, not under production load.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt)
			defer stop()
			client := api.Dial(controlAddress)
			defer client.Close()
			err := client.Trace(ctx, most, func(raw json.RawMessage) error {
				if asJSON {
					_, err := fmt.Printf("%s\n", raw)
					return err
				}
				var ev director.Event
				if err := json.Unmarshal(raw, &ev); err != nil {
					return err
				}
				printEvent(&ev)
				return nil
			})
			if ctx.Err() != nil {
				return nil
			}
			return explained(err)
		},
	}
	cmd.Flags().IntVarP(&most, "count", "c", 0, "stop after this many frames; 0: never")
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object per frame")
	return cmd
}

func printEvent(ev *director.Event) {
	fmt.Printf("in   %d  %s\n", ev.Port, describe(ev.Before))
	for _, out := range ev.After {
		to := fmt.Sprint(out.Port)
		if out.Host {
			to = "host"
		}
		fmt.Printf("out  %s  %s\n", to, describe(out.Data))
	}
	fmt.Printf("     %s", ev.Reason)
	if ev.Server != "" {
		fmt.Printf(", real server %s (%s)", ev.Server, ev.Method)
	}
	fmt.Println()
}

// describe says in one line what a frame is.
func describe(data []byte) string {
	m := wire.Ethernet
	if len(data) > 0 && (data[0]>>4 == 4 && len(data) < wire.EthernetLen) {
		m = wire.IP
	}
	var p wire.Packet
	if why := p.Parse(data, m); why != wire.None {
		return fmt.Sprintf("%v: %s", why, hex.EncodeToString(data[:min(len(data), 64)]))
	}
	eth := wire.EthernetHeader(data)
	s := fmt.Sprintf("%v > %v ", eth.Src(), eth.Dst())
	if p.Version == 0 {
		return fmt.Sprintf("%stype %#04x, %d bytes", s, p.EtherType, len(data))
	}
	s += fmt.Sprintf("%s > %s ttl %d", endpoint(p.Src.String(), p.Ports, p.SrcPort), endpoint(p.Dst.String(), p.Ports, p.DstPort), p.TTL)
	switch p.Proto {
	case wire.ProtoTCP:
		s += " TCP " + tcpFlagNames(p.TCPFlags)
	case wire.ProtoUDP:
		s += " UDP"
	case wire.ProtoIPIP, wire.ProtoIPv6:
		s += " in which " + inner(&p)
	default:
		s += fmt.Sprintf(" protocol %d", p.Proto)
	}
	return fmt.Sprintf("%s, %d bytes", s, p.IPLen())
}

// inner describes the packet in a tunnel.
func inner(outer *wire.Packet) string {
	var p wire.Packet
	if p.Parse(outer.Transport(), wire.IP) != wire.None {
		return "a malformed packet"
	}
	return fmt.Sprintf("%s > %s ttl %d", endpoint(p.Src.String(), p.Ports, p.SrcPort), endpoint(p.Dst.String(), p.Ports, p.DstPort), p.TTL)
}

func endpoint(addr string, ports bool, port uint16) string {
	if !ports {
		return addr
	}
	return fmt.Sprintf("%s:%d", addr, port)
}

func tcpFlagNames(flags uint8) string {
	s := ""
	for i, name := range "FSRPAU" {
		if flags&(1<<i) != 0 {
			s += string(name)
		}
	}
	return s
}
