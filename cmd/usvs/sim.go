package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"usvs/scenario"
	"usvs/scenario/netns"
)

// Exit statuses of usvs sim, besides 0 and the 1 of any other error.
const (
	exitScenarioFailed = 1
	exitNoSuchWorld    = 3
)

// simFlags are the options of usvs sim.
type simFlags struct {
	seed   uint64
	seeds  string
	pcap   string
	ladder bool
	html   string
	json   bool
	world  string
	quiet  bool
	follow bool
}

func newSimCmd() *cobra.Command {
	var f simFlags
	cmd := &cobra.Command{
		Use:   "sim FILE|DIR...",
		Short: "Play scenarios: a network, commands, traffic, faults and what must be seen",
		Long: `Play scenarios (docs/scenarios.md) in a simulated network, in which the director
is the real one and time is not. The same scenario and seed always give the
same run: a failure prints the seed and the command that repeats it.

  --world sim     the simulation: no privileges, no waiting (default)
  --world netns   network namespaces, real directors, clients and servers
  --world ipvs    the same with the kernel's ip_vs as the director

The exit status is 0 if all scenarios passed, 1 if one failed or could not be
read, 3 if this machine does not have the world.`,
		Args: someWords("scenarios"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runSim(&f, args, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.AddCommand(newSimFuzzCmd())
	fl := cmd.Flags()
	fl.Uint64Var(&f.seed, "seed", 1, "decides every random draw of the simulation")
	fl.StringVar(&f.seeds, "seeds", "", "A..B: play each scenario with each of these seeds")
	fl.StringVar(&f.pcap, "pcap", "", "write each run's frames to this directory as pcapng")
	fl.BoolVar(&f.ladder, "ladder", false, "draw each run's connections as text (sim)")
	fl.StringVar(&f.html, "html", "", "write a page that shows the run frame by frame (sim; one scenario, one seed)")
	fl.BoolVar(&f.json, "json", false, "one JSON object a line for each run")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "only what failed, and the sum")
	fl.BoolVarP(&f.follow, "verbose", "v", false, "each statement as it is done, and who answered")
	fl.StringVar(&f.world, "world", "sim", "where to play: "+strings.Join(scenario.Worlds, ", "))
	return cmd
}

func runSim(f *simFlags, args []string, stdout, stderr io.Writer) error {
	suite, err := newSuite(f, args)
	if err != nil {
		return err
	}
	code, done, err := enterWorld(f.world)
	if errors.Is(err, scenario.ErrUnsupported) {
		fmt.Fprintln(stderr, "usvs sim:", err)
		return status(exitNoSuchWorld)
	}
	if err != nil || done {
		return cmp.Or(err, status(code))
	}
	out := bufio.NewWriter(stdout)
	defer out.Flush()
	p := &simPrinter{flags: f, out: out, stderr: stderr, total: len(suite.Files) * int(suite.To-suite.From+1)}
	suite.Report = p.report
	if f.follow {
		suite.Parallel, suite.Follow = 1, p.follow
	}
	suite.Inspect = func(v *scenario.Verdict, w scenario.World) error { return inspectSim(f, v, w) }
	counts, err := suite.Run()
	if errors.Is(err, scenario.ErrUnsupported) {
		fmt.Fprintln(stderr, "usvs sim:", err)
		return status(exitNoSuchWorld)
	}
	if err != nil {
		return err
	}
	p.sum(counts)
	if counts[scenario.Failed] > 0 {
		return status(exitScenarioFailed)
	}
	return nil
}

// atATime is how many scenarios are played at a time where time is real: they
// mostly wait.
const atATime = 4

// newSuite reads the scenarios and judges the options.
func newSuite(f *simFlags, args []string) (*scenario.Suite, error) {
	s := &scenario.Suite{World: f.world, From: f.seed, To: f.seed, Parallel: 1}
	for _, path := range args {
		files, err := scenario.Load(path)
		if err != nil {
			return nil, err
		}
		s.Files = append(s.Files, files...)
	}
	if len(s.Files) == 0 {
		return nil, fmt.Errorf("no scenarios (*.txt) in %s", strings.Join(args, " "))
	}
	var err error
	if f.seeds != "" {
		if s.From, s.To, err = parseSeeds(f.seeds); err != nil {
			return nil, err
		}
	}
	if s.Open, err = worldOpener(f); err != nil {
		return nil, err
	}
	one := len(s.Files) == 1 && s.From == s.To
	switch {
	case f.world != "sim" && (f.ladder || f.html != ""):
		return nil, errors.New("--ladder and --html are for --world sim: only there is it known why a frame was sent")
	case f.html != "" && !one:
		return nil, errors.New("--html shows one scenario with one seed")
	case f.world == "sim" && !f.ladder:
		s.Parallel = runtime.GOMAXPROCS(0)
	case f.world != "sim":
		s.Parallel = atATime
	}
	return s, nil
}

// maxSeeds bounds one call.
const maxSeeds = 1 << 24

func parseSeeds(text string) (from, to uint64, err error) {
	a, b, ok := strings.Cut(text, "..")
	from, err1 := strconv.ParseUint(a, 10, 64)
	to, err2 := strconv.ParseUint(b, 10, 64)
	if !ok || err1 != nil || err2 != nil || to < from || to-from >= maxSeeds || to == math.MaxUint64 {
		return 0, 0, fmt.Errorf("--seeds %q: want a range like 1..100, of at most %d seeds", text, maxSeeds)
	}
	return from, to, nil
}

// simPrinter shows verdicts as they come.
type simPrinter struct {
	flags      *simFlags
	out        *bufio.Writer
	stderr     io.Writer
	total      int
	done, bad  int
	lastNotice time.Time
}

// follow shows a run while it goes on.
func (p *simPrinter) follow(v *scenario.Verdict) scenario.Options {
	fmt.Fprintf(p.stderr, "%s, seed %d\n", v.File.Name, v.Seed)
	return scenario.Options{
		Progress: func(s *scenario.Step, at time.Duration) {
			fmt.Fprintf(p.stderr, "%10.3fs  %s\n", at.Seconds(), s.Text)
		},
		Seen: func(_ *scenario.Step, replies []scenario.Reply) {
			fmt.Fprintf(p.stderr, "%13s-> %s\n", "", scenario.Summary(replies))
		},
	}
}

// verdictJSON is a line of --json.
type verdictJSON struct {
	Scenario  string  `json:"scenario"`
	Title     string  `json:"title"`
	World     string  `json:"world"`
	Seed      uint64  `json:"seed"`
	Outcome   string  `json:"outcome"`
	Seconds   float64 `json:"seconds"` // in the world's own time
	Requests  int     `json:"requests"`
	Line      int     `json:"line,omitempty"`
	Error     string  `json:"error,omitempty"`
	Reason    string  `json:"reason,omitempty"`
	Replay    string  `json:"replay,omitempty"`
	Statement string  `json:"statement,omitempty"`
	Ladder    string  `json:"ladder,omitempty"`
}

func (p *simPrinter) report(v *scenario.Verdict) {
	p.done++
	if v.Outcome == scenario.Failed {
		p.bad++
	}
	if p.flags.json {
		p.reportJSON(v)
	} else {
		p.reportText(v)
	}
	p.out.Flush()
	p.progress()
}

func (p *simPrinter) reportText(v *scenario.Verdict) {
	name := shortName(v.File)
	switch v.Outcome {
	case scenario.Failed:
		fmt.Fprintf(p.out, "FAIL  %s, seed %d\n%s\n", name, v.Seed, indent(v.Err.Error()))
		fmt.Fprintf(p.out, "      again: %s\n", v.Replay())
	case scenario.Skipped:
		fmt.Fprintf(p.out, "skip  %-28s %s\n", name, v.Reason)
	default:
		if !p.flags.quiet {
			fmt.Fprintf(p.out, "ok    %-28s %8.3fs  %s\n", name, v.Elapsed.Seconds(), v.File.Title)
		}
	}
	fmt.Fprint(p.out, v.Drawing)
}

func indent(text string) string {
	return "      " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n      ")
}

func (p *simPrinter) reportJSON(v *scenario.Verdict) {
	line := verdictJSON{
		Scenario: v.File.Name, Title: v.File.Title, World: v.World, Seed: v.Seed, Outcome: string(v.Outcome),
		Seconds: v.Elapsed.Seconds(), Requests: v.Replies, Reason: v.Reason,
		Ladder: v.Drawing,
	}
	if v.Err != nil {
		line.Error, line.Replay = v.Err.Error(), v.Replay()
		var at *scenario.Error
		if errors.As(v.Err, &at) {
			line.Line, line.Statement, line.Error = at.Line, at.Text, at.Msg
		}
	}
	b, err := json.Marshal(line)
	if err != nil {
		panic(err) // plain strings and numbers
	}
	p.out.Write(append(b, '\n'))
}

// noticeEvery is how often a long run says how far it is.
const noticeEvery = 2 * time.Second

func (p *simPrinter) progress() {
	if p.lastNotice.IsZero() {
		p.lastNotice = time.Now()
	}
	if time.Since(p.lastNotice) < noticeEvery || p.done == p.total {
		return
	}
	p.lastNotice = time.Now()
	fmt.Fprintf(p.stderr, "usvs sim: %d of %d runs, %d failed\n", p.done, p.total, p.bad)
}

func (p *simPrinter) sum(counts map[scenario.Outcome]int) {
	if p.flags.json {
		return
	}
	fmt.Fprintf(p.out, "%d passed, %d failed, %d skipped\n",
		counts[scenario.Passed], counts[scenario.Failed], counts[scenario.Skipped])
}

// worldOpener returns what opens a world.
func worldOpener(f *simFlags) (func(seed uint64) (scenario.World, error), error) {
	switch name := f.world; name {
	case "sim":
		return func(seed uint64) (scenario.World, error) { return newWatched(f, seed), nil }, nil
	case "netns", "ipvs":
		return func(seed uint64) (scenario.World, error) { return netns.Open(name, seed) }, nil
	}
	return nil, fmt.Errorf("--world %q: there are %s", f.world, strings.Join(scenario.Worlds, ", "))
}
