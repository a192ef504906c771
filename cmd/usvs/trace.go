package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/spf13/cobra"

	"usvs/api"
	"usvs/director"
	"usvs/dissect"
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
		Args: noWords(""),
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
				var ev traceEvent
				if err := json.Unmarshal(raw, &ev); err != nil {
					return err
				}
				ev.write(os.Stdout)
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

// traceEvent is what the trace says of a frame: director.Event, and by which
// interfaces frames came and left.
type traceEvent struct {
	director.Event
	Interface string
	Medium    wire.Medium
	After     []traceFrame
}

// traceFrame is a frame that left.
type traceFrame struct {
	director.Emitted
	Interface string
	Medium    wire.Medium
}

// newTraceEvent completes ev; where says what port a frame's number stands for.
func newTraceEvent(ev *director.Event, where func(port int) (string, wire.Medium)) *traceEvent {
	t := &traceEvent{Event: *ev}
	t.Interface, t.Medium = where(ev.Port)
	for _, out := range ev.After {
		name, medium := where(out.Port)
		t.After = append(t.After, traceFrame{out, name, medium})
	}
	return t
}

func (ev *traceEvent) write(w io.Writer) {
	fmt.Fprintf(w, "in   %s  %s\n", ev.Interface, describe(ev.Before, ev.Medium))
	for _, out := range ev.After {
		to := out.Interface
		if out.Host {
			to = "host"
		}
		fmt.Fprintf(w, "out  %s  %s\n", to, describe(out.Data, out.Medium))
	}
	fmt.Fprintf(w, "     %s", ev.Reason)
	if ev.Server != "" {
		fmt.Fprintf(w, ", real server %s (%s)", ev.Server, ev.Method)
	}
	fmt.Fprintln(w)
}

// describe says in one line what a frame is, in the words of usvs explain.
func describe(data []byte, m wire.Medium) string {
	s := dissect.Line(data, m)
	if m == wire.Ethernet && len(data) >= wire.EthernetLen {
		eth := wire.EthernetHeader(data)
		s = fmt.Sprintf("%v > %v  %s", eth.Src(), eth.Dst(), s)
	}
	var p wire.Packet
	if p.Parse(data, m) != wire.None || p.Version == 0 {
		return s
	}
	return fmt.Sprintf("%s, %d bytes, ttl %d", s, p.IPLen(), p.TTL)
}
