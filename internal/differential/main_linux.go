// Differential plays random scenarios in the real kernel and in usvs and reports
// where the two differ. See docs/differential.md.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"

	"usvs/differential"
	"usvs/differential/stage"
	"usvs/differential/uml"
)

// init keeps the first thread to the main goroutine: it cannot end, and a
// namespace that it was left in would stay.
func init() {
	if uml.Inside() {
		runtime.LockOSThread()
	}
}

func main() {
	if uml.Inside() {
		inside()
		return
	}
	os.Exit(outside())
}

// modules are all that scenarios may need.
var modules = []string{"ipv6", "veth", "iptable_mangle", "ip6table_mangle", "xt_mark", "ip_vs", "ip_vs_rr", "ip_vs_wrr", "ip_vs_lc",
	"ip_vs_wlc", "ip_vs_lblc", "ip_vs_lblcr", "ip_vs_dh", "ip_vs_sh", "ip_vs_sed", "ip_vs_nq", "ip_vs_fo", "ip_vs_ovf", "ip_vs_mh",
	"ip_vs_pe_sip"}

// inside is the first process of the kernel.
func inside() {
	guest, err := uml.Enter(modules...)
	if err == nil {
		err = stage.Prepare()
	}
	if err == nil {
		err = guest.Serve(func(job []byte) []byte { return differential.AnswerJob(job, guest) })
	}
	fmt.Println("the guest ends:", err)
}

type settings struct {
	area, out, play string
	seed            uint64
	n, shrink       int
	guests          int
	print, compare  bool
}

func outside() int {
	var s settings
	flag.StringVar(&s.area, "area", "all", "what the scenarios are about: all, or some of "+strings.Join(differential.Areas(), ","))
	flag.Uint64Var(&s.seed, "seed", 1, "the first scenario's seed")
	flag.IntVar(&s.n, "n", 100, "scenarios of each area")
	flag.IntVar(&s.shrink, "shrink", 3, "differences of each area that are reduced to their fewest steps")
	flag.IntVar(&s.guests, "guests", 2, "kernels at a time")
	flag.StringVar(&s.out, "out", "", "a directory for the recordings of differences")
	flag.BoolVar(&s.print, "print", false, "print the scenarios and do not play them")
	flag.BoolVar(&s.compare, "compare", false, "play the recordings named on the command line through usvs; no kernel is asked")
	flag.StringVar(&s.play, "play", "", "have the kernel play this scenario file, print the recording and compare")
	flag.Parse()
	status, err := s.run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "differential:", err)
	}
	return status
}

// Exit statuses.
const (
	same = iota
	different
	failed
)

func (s settings) run() (int, error) {
	areas := differential.Areas()
	if s.area != "all" {
		areas = strings.Split(s.area, ",")
	}
	for _, a := range areas {
		if !slices.Contains(differential.Areas(), a) {
			return failed, fmt.Errorf("no area %q", a)
		}
	}
	if s.print {
		return same, s.list(areas)
	}
	if s.compare {
		return compareFiles(flag.Args())
	}
	in, err := uml.Find(os.Getenv("USVS_UML"))
	if err != nil {
		return failed, err
	}
	if s.play != "" {
		return s.playFile(in)
	}
	c := &differential.Campaign{Areas: areas, Seed: s.seed, N: s.n, Shrink: s.shrink, Out: s.out, Log: os.Stdout}
	if s.out != "" {
		if err := os.MkdirAll(s.out, 0o755); err != nil {
			return failed, err
		}
	}
	if err := s.campaign(c, in); err != nil {
		return failed, err
	}
	return s.summary(c), nil
}

func (s settings) list(areas []string) error {
	for _, a := range areas {
		for n := range s.n {
			scenario, err := differential.Generate(a, s.seed+uint64(n))
			if err != nil {
				return err
			}
			fmt.Printf("# %s\n%s", scenario.Name(), scenario)
		}
	}
	return nil
}

func (s settings) campaign(c *differential.Campaign, in uml.Install) error {
	errs := make([]error, s.guests)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = c.Run(func() (differential.Kernel, func(), error) { return boot(in) }) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// boot starts a kernel with this program inside.
func boot(in uml.Install) (differential.Kernel, func(), error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp("", "usvs-uml")
	if err != nil {
		return nil, nil, err
	}
	m, err := uml.Boot(uml.Options{Install: in, Dir: dir, Init: []string{self}})
	if err != nil {
		os.RemoveAll(dir)
		return nil, nil, err
	}
	return m, func() { m.Close(); os.RemoveAll(dir) }, nil
}

func (s settings) summary(c *differential.Campaign) int {
	status := same
	for _, area := range c.Areas {
		t := c.Tally[area]
		if t == nil {
			continue
		}
		fmt.Printf("%-12s %d played (%d steps), %d different, %d unsteady, %d unclear, %d not playable, %d not understood, %d lost\n",
			area, t.Played, t.Steps, t.Different, t.Unsteady, t.Unclear, t.Refused, t.Unplayable, t.Lost)
		if t.Different > 0 || t.Unplayable > 0 {
			status = different
		}
	}
	return status
}

// compareFiles plays recordings through usvs.
func compareFiles(names []string) (int, error) {
	status := same
	for _, name := range names {
		d, err := differential.CheckTrace(name)
		if err != nil {
			return failed, err
		}
		if d != nil {
			fmt.Println(differential.Describe(d))
			status = different
		}
	}
	return status, nil
}

// playFile plays one scenario from a file.
func (s settings) playFile(in uml.Install) (int, error) {
	text, err := os.ReadFile(s.play)
	if err != nil {
		return failed, err
	}
	k, end, err := boot(in)
	if err != nil {
		return failed, err
	}
	defer end()
	scenario := differential.Scenario{Area: "file", Lines: strings.Split(strings.TrimSpace(string(text)), "\n")}
	trace, d, err := differential.Check(k, scenario)
	fmt.Print(trace)
	if err != nil {
		return failed, err
	}
	if d != nil {
		fmt.Println(differential.Describe(d))
		return different, nil
	}
	return same, nil
}
