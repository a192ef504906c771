package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"

	"github.com/spf13/cobra"

	"usvs/api"
	"usvs/clock"
	"usvs/control"
	"usvs/explain"
	"usvs/ipvs"
	"usvs/ipvsadm"
	"usvs/ipvsadm/resolve"
	"usvs/keepalived"
	"usvs/link/pcap"
	"usvs/plan"
)

// planFlags are what `usvs plan` was told.
type planFlags struct {
	live     bool
	pcap     string
	rules    bool
	configID string
	asJSON   bool
}

// Exit statuses of `usvs plan`, which are diff's.
const (
	planDiffers = 1
	planTrouble = 2
)

func newPlanCmd() *cobra.Command {
	var f planFlags
	cmd := &cobra.Command{
		Use:   "plan OLD NEW | plan --live NEW",
		Short: "What a change of configuration would do: servers, load, connections",
		Long: `Compare two configurations, each a keepalived.conf or a file of rules, and say
what going from one to the other does: which services and servers come, go and
change, how new connections are shared before and after, what becomes of
connections that are there, and what may not be meant. Nothing is changed.

With --live the running director is asked for its connections; without OLD its
services stand for it. With --pcap the clients of a capture are tried on both
configurations. The exit status is diff's: 0 nothing changes, 1 something does,
2 trouble.`,
		Example: `  usvs plan keepalived.conf keepalived.conf.new
  usvs plan --live web.rules
  usvs plan --pcap clients.pcapng old.rules new.rules`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 || len(args) == 1 && f.live {
				return nil
			}
			return fmt.Errorf("which configurations? usvs plan OLD NEW, or usvs plan --live NEW for the running director's and another (%d given)", len(args))
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return runPlan(cmd.OutOrStdout(), cmd.ErrOrStderr(), cmd.InOrStdin(), f, args)
		},
	}
	fl := cmd.Flags()
	fl.BoolVar(&f.live, "live", false, "say what becomes of the running director's connections")
	fl.StringVar(&f.pcap, "pcap", "", "try the clients of this `capture` on both configurations")
	fl.BoolVar(&f.rules, "rules", false, "the files are rules, whatever they look like")
	fl.StringVarP(&f.configID, "config-id", "i", shortHostname(), "the id that lines of keepalived.conf with @ are for")
	fl.BoolVar(&f.asJSON, "json", false, "the plan as JSON")
	return badUsage(cmd, planTrouble)
}

// side is one of the two configurations.
type side struct {
	name  string
	state *plan.State
	rules []byte // as usvs run --rules would read it
	wrong bool   // a keepalived.conf that a reload refuses
}

func runPlan(out, errs io.Writer, in io.Reader, f planFlags, args []string) error {
	p, err := makePlan(f, &diskFiles{in: in}, args)
	if err != nil {
		fmt.Fprintf(errs, "usvs plan: %v\n", err)
		return exitStatus(planTrouble)
	}
	if f.asJSON {
		e := json.NewEncoder(out)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		err = e.Encode(p)
	} else {
		_, err = p.WriteTo(out)
	}
	if err == nil && !p.Same() {
		err = exitStatus(planDiffers)
	}
	return err
}

func makePlan(f planFlags, disk *diskFiles, args []string) (*plan.Plan, error) {
	var sides []side
	client := api.Dial(controlAddress)
	defer client.Close()
	if len(args) == 1 {
		s, err := runningSide(client)
		if err != nil {
			return nil, err
		}
		sides = append(sides, s)
	}
	for _, name := range args {
		s, err := readSide(name, disk, f)
		if err != nil {
			return nil, err
		}
		if len(args) == 1 {
			s.state.Instances, s.state.StaticRoutes = nil, nil // a director tells of services alone
		}
		sides = append(sides, s)
	}
	p := plan.Compare(sides[0].state, sides[1].state)
	warnOfErrors(p, sides[0], sides[1])
	if f.live {
		if err := p.Connections(client.Connections); err != nil {
			return nil, fmt.Errorf("the running director's connections: %w", explained(err))
		}
	}
	if f.pcap != "" {
		if err := playCapture(p, f.pcap, sides[0], sides[1]); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// runningSide is what the running director has.
func runningSide(client *api.Client) (side, error) {
	services, err := client.Services()
	if err != nil {
		return side{}, fmt.Errorf("the running director: %w", explained(err))
	}
	rules, err := savedRules(client)
	return side{name: "the running director", state: plan.FromServices(services), rules: rules}, err
}

// savedRules is a director's table as ipvsadm saves it.
func savedRules(b ipvsadm.Backend) ([]byte, error) {
	var out, errs bytes.Buffer
	if status := ipvsadm.Run([]string{"ipvsadm", "-S", "-n"}, b, nil, nil, &out, &errs); status != 0 {
		return nil, errors.New(errs.String())
	}
	return out.Bytes(), nil
}

func readSide(name string, disk *diskFiles, f planFlags) (side, error) {
	text, err := readRules(name, disk)
	if err != nil {
		return side{}, err
	}
	if f.rules || looksLikeRules(string(text)) {
		return rulesSide(name, text)
	}
	dir, _ := os.Getwd()
	config, report := keepalived.Parse(name, keepalived.Options{Files: disk, ConfigID: f.configID, Dir: dir, Extensions: true})
	if n, _ := report.Count(); n > 0 && len(config.VirtualServers) == 0 && len(config.Instances) == 0 {
		return side{}, fmt.Errorf("%s: no virtual_server and no vrrp_instance in it that keepalived would take; usvs check %s says why", name, name)
	}
	s, err := keepalivedSide(name, config, f.pcap != "")
	s.wrong = worstClass(report) >= keepalived.Invalid
	return s, err
}

// warnOfErrors says that a configuration is shown as what its mistakes leave.
func warnOfErrors(p *plan.Plan, before, after side) {
	if before.wrong {
		p.Warnings = append(p.Warnings, fmt.Sprintf("%s has errors and is compared without what is wrong: usvs check %s", before.name, before.name))
	}
	if after.wrong {
		p.Warnings = append(p.Warnings, fmt.Sprintf("%s has errors and is compared without what is wrong; a reload refuses it: usvs check %s", after.name, after.name))
	}
}

func rulesSide(name string, text []byte) (side, error) {
	ctl := scratchControl()
	if err := ctl.Load(name, bytes.NewReader(text)); err != nil {
		return side{}, err
	}
	services, err := ctl.Services()
	return side{name: name, state: plan.FromServices(services), rules: text}, err
}

// scratchControl is a Control without a data plane.
func scratchControl() *control.Control {
	return control.New(control.Config{
		Clock: clock.System{}, Rand: rand.New(rand.NewPCG(0, 0)), Servers: new(ipvs.Registry),
		Resolver: resolve.SystemResolver(),
	})
}

// keepalivedSide makes rules of a keepalived.conf besides, if they are wanted.
func keepalivedSide(name string, config *keepalived.Config, rules bool) (side, error) {
	s := side{name: name, state: plan.FromKeepalived(config)}
	ctl := scratchControl()
	var err error
	ctl.Together(func() { err = addServices(ctl, s.state.Services) })
	if err != nil {
		return s, fmt.Errorf("%s: %w", name, err)
	}
	if rules {
		s.rules, err = savedRules(ctl)
	}
	return s, err
}

func addServices(ctl *control.Control, list []plan.ServiceState) error {
	for _, svc := range list {
		if err := ctl.AddService(svc.ID, svc.Spec); err != nil {
			return fmt.Errorf("%v: %w", svc.ID, err)
		}
		for _, rs := range svc.Servers {
			if err := ctl.AddServer(svc.ID, rs.ID, rs.Spec); err != nil {
				return fmt.Errorf("%v of %v: %w", rs.ID, svc.ID, err)
			}
		}
	}
	return nil
}

// playCapture tries the clients of a capture on both sides.
func playCapture(p *plan.Plan, capture string, before, after side) error {
	in, err := os.Open(capture)
	if err != nil {
		return err
	}
	defer in.Close()
	var benches [2]*explain.Bench
	for i, s := range []side{before, after} {
		if benches[i], err = explain.New(explain.Options{Resolver: resolve.SystemResolver()}, s.name, bytes.NewReader(s.rules)); err != nil {
			return err
		}
	}
	player := plan.NewPlayer(benches[0], benches[1])
	if err := pcap.Read(in, player.Frame); err != nil {
		return fmt.Errorf("%s: %w", capture, err)
	}
	p.Played(player)
	return nil
}
