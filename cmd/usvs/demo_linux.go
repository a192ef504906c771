package main

import (
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"usvs/demo"
)

func newDemoCmd() *cobra.Command {
	var (
		modes string
		clean bool
		color bool
		opts  demo.Options
	)
	options := func() (demo.Options, error) {
		var err error
		if opts.Modes, err = demo.ParseModes(modes); err != nil {
			return opts, err
		}
		opts.Color = color || demo.IsTerminal(os.Stdout)
		return opts, opts.Validate()
	}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Watch HTTP requests reach real servers by DR, NAT and TUN; nothing to set up",
		Long: `Show LVS at work in networks of the demo's own, made of network namespaces: real
web servers, a director, and a client that makes real HTTP requests through a
virtual address, by direct routing, NAT and tunnelling. It works as root and,
where the kernel permits user namespaces, as anybody. Nothing has to be
installed, and nothing of this machine's network is touched.

The exit status is 0 if every mode worked and every real server got the share of
the requests that the scheduler owed it.`,
		Args: noWords(""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if clean {
				return demo.Clean()
			}
			o, err := options()
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
			defer stop()
			code, err := demo.Run(ctx, o)
			if err != nil {
				return err
			}
			return status(code)
		},
	}
	fl := cmd.PersistentFlags()
	fl.StringVar(&modes, "mode", "all", "what to show: "+strings.Join(demo.Modes, ", ")+", several with commas, or all")
	fl.IntVar(&opts.Requests, "requests", demo.DefaultRequests, "requests per mode, rounded up to whole rounds of the schedulers")
	fl.BoolVar(&opts.Keep, "keep", false, "leave the machines running, and say how to enter them")
	fl.BoolVar(&color, "color", false, "colours even if the output is no terminal")
	cmd.Flags().BoolVar(&clean, "clean", false, "end the machines that --keep left running")

	inside := &cobra.Command{Use: "inside", Hidden: true, Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		o, err := options()
		if err != nil {
			return err
		}
		return status(demo.Inside(o))
	}}
	cmd.AddCommand(inside, newDemoServeCmd())
	return cmd
}

// newDemoServeCmd is what the demo's real servers run.
func newDemoServeCmd() *cobra.Command {
	return &cobra.Command{Use: "serve NAME ADDRESS", Hidden: true, Args: cobra.ExactArgs(2), RunE: func(cmd *cobra.Command, args []string) error {
		ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		return demo.Serve(ctx, args[0], args[1], os.Stdout)
	}}
}
