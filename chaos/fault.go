package chaos

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind is what goes wrong.
type Kind string

// The kinds. Where a Fault has a Node and a NIC, it is at a director's
// interface; with a Node alone, at the machine.
const (
	Cut         Kind = "cut"         // the cable loses every frame, both ways; nobody notices
	CutIn       Kind = "cut-in"      // the machine hears nothing
	CutOut      Kind = "cut-out"     // nobody hears the machine
	Down        Kind = "down"        // the interface has no carrier
	Pause       Kind = "pause"       // the director stands still, as a VM that is not scheduled
	Crash       Kind = "crash"       // the director is off, and starts anew when the fault is over
	Skew        Kind = "skew"        // the director's timers run at Amount times their pace
	Loss        Kind = "loss"        // of Amount of the frames, both ways
	Duplicate   Kind = "duplicate"   // of Amount of the frames
	Reorder     Kind = "reorder"     // Amount of the frames are overtaken
	ServerStop  Kind = "server-stop" // nobody listens on the real server any more
	ServerDead  Kind = "server-dead" // the real server's cable is cut
	ServerSlow  Kind = "server-slow" // frames from the real server take Amount seconds
	NoMulticast Kind = "multicast"   // the network carries no multicast between the directors
	VIPMissing  Kind = "vip-missing" // the real server has no virtual address on lo
)

// kindInfo says what a kind is at, and what it is called.
type kindInfo struct {
	kind    Kind
	at      place
	text    string // what it does to its target, with %s for that
	mistake bool   // not chance, but a mistake of whoever set the network up
}

type place int

const (
	atInterface place = iota
	atDirector
	atServer
	atNetwork
)

var kinds = []kindInfo{
	{kind: Cut, at: atInterface, text: "%s is cut off, both ways"},
	{kind: CutIn, at: atInterface, text: "%s hears nothing, but is heard"},
	{kind: CutOut, at: atInterface, text: "%s is not heard, but hears"},
	{kind: Down, at: atInterface, text: "%s has no carrier"},
	{kind: Pause, at: atDirector, text: "%s stands still"},
	{kind: Crash, at: atDirector, text: "%s is off, then starts anew"},
	{kind: Skew, at: atDirector, text: "the clock of %s runs wrong"},
	{kind: Loss, at: atInterface, text: "%s loses frames"},
	{kind: Duplicate, at: atInterface, text: "%s has frames twice"},
	{kind: Reorder, at: atInterface, text: "%s has frames out of order"},
	{kind: ServerStop, at: atServer, text: "the service of %s is stopped"},
	{kind: ServerDead, at: atServer, text: "%s is cut off"},
	{kind: ServerSlow, at: atServer, text: "%s is slow"},
	{kind: NoMulticast, at: atNetwork, text: "%s carries no multicast", mistake: true},
	{kind: VIPMissing, at: atServer, text: "%s has no virtual address on lo", mistake: true},
}

// info returns a kind's row, or nil.
func (k Kind) info() *kindInfo {
	i := slices.IndexFunc(kinds, func(x kindInfo) bool { return x.kind == k })
	if i < 0 {
		return nil
	}
	return &kinds[i]
}

// Kinds are the names of all kinds: what chance does, and mistakes.
func Kinds() (faults, mistakes []Kind) {
	for _, k := range kinds {
		if k.mistake {
			mistakes = append(mistakes, k.kind)
		} else {
			faults = append(faults, k.kind)
		}
	}
	return faults, mistakes
}

// Fault is something that goes wrong, from At, counted from the start, for a time.
type Fault struct {
	Kind   Kind          `json:"kind"`
	Node   string        `json:"node"` // director, real server or network
	NIC    string        `json:"nic,omitempty"`
	At     time.Duration `json:"at"`
	For    time.Duration `json:"for"`
	Amount float64       `json:"amount,omitempty"`
}

// End is when it is over.
func (f Fault) End() time.Duration { return f.At + f.For }

// during reports whether the fault is there within a stretch of time.
func (f Fault) during(from, to time.Duration) bool { return f.At <= to && f.End() >= from }

// target is what it is at.
func (f Fault) target() string {
	if f.NIC == "" {
		return f.Node
	}
	return f.Node + ":" + f.NIC
}

// String is the fault as ParseSchedule reads it.
func (f Fault) String() string {
	s := fmt.Sprintf("at %v for %v %s %s", f.At, f.For, f.Kind, f.target())
	if f.Amount != 0 {
		s += " " + strconv.FormatFloat(f.Amount, 'g', -1, 64)
	}
	return s
}

// Describe says it for people.
func (f Fault) Describe() string {
	text := fmt.Sprintf(f.Kind.info().text, f.target())
	switch f.Kind {
	case Skew:
		text += fmt.Sprintf(" (%.2f times as fast)", f.Amount)
	case Loss, Duplicate, Reorder:
		text += fmt.Sprintf(" (%.0f %%)", 100*f.Amount)
	case ServerSlow:
		text += fmt.Sprintf(" (%v)", time.Duration(f.Amount*float64(time.Second)).Round(time.Millisecond))
	}
	return fmt.Sprintf("%s - %s  %s", seconds(f.At), seconds(f.End()), text)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2fs", d.Seconds()) }

// Schedule is the faults of a run, in the order of their beginning.
type Schedule []Fault

// End is when the last fault is over.
func (s Schedule) End() time.Duration {
	end := time.Duration(0)
	for _, f := range s {
		end = max(end, f.End())
	}
	return end
}

// String is the schedule as ParseSchedule reads it, a line for each fault.
func (s Schedule) String() string {
	var b strings.Builder
	for _, f := range s {
		fmt.Fprintln(&b, f)
	}
	return b.String()
}

func (s Schedule) sort() {
	slices.SortStableFunc(s, func(a, b Fault) int { return int(a.At - b.At) })
}

// changes are the moments at which a fault begins or ends, in order.
func (s Schedule) changes() []time.Duration {
	var list []time.Duration
	for _, f := range s {
		list = append(list, f.At, f.End())
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// limits of what a schedule may say.
const (
	maxFaults = 1000
	maxTime   = 24 * time.Hour
)

// ParseSchedule reads faults, one a line: at TIME for TIME KIND TARGET [AMOUNT].
// What follows a # is a comment.
func ParseSchedule(text string) (Schedule, error) {
	var s Schedule
	for i, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		if strings.TrimSpace(line) == "" {
			continue
		}
		f, err := parseFault(strings.Fields(line))
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		if s = append(s, f); len(s) > maxFaults {
			return nil, fmt.Errorf("line %d: more than %d faults", i+1, maxFaults)
		}
	}
	s.sort()
	return s, nil
}

func parseFault(w []string) (f Fault, err error) {
	if len(w) < 6 || len(w) > 7 || w[0] != "at" || w[2] != "for" {
		return f, fmt.Errorf("want: at TIME for TIME KIND TARGET [AMOUNT]")
	}
	if f.At, err = parseTime(w[1]); err != nil {
		return f, err
	}
	if f.For, err = parseTime(w[3]); err != nil {
		return f, err
	}
	f.Kind = Kind(w[4])
	info := f.Kind.info()
	if info == nil {
		return f, fmt.Errorf("no such kind of fault: %s", w[4])
	}
	f.Node = w[5]
	if info.at == atInterface {
		node, nic, ok := strings.Cut(w[5], ":")
		if !ok || node == "" || nic == "" {
			return f, fmt.Errorf("%s is at an interface, DIRECTOR:INTERFACE", f.Kind)
		}
		f.Node, f.NIC = node, nic
	}
	return f, f.parseAmount(w[6:])
}

func parseTime(word string) (time.Duration, error) {
	d, err := time.ParseDuration(word)
	if err != nil || d < 0 || d > maxTime {
		return 0, fmt.Errorf("%q is no time between 0s and %v", word, maxTime)
	}
	return d, nil
}

// amounts are what the kinds that have an Amount take.
var amounts = map[Kind][2]float64{
	Skew: {0.1, 10}, Loss: {0, 1}, Duplicate: {0, 1}, Reorder: {0, 1}, ServerSlow: {0, 60},
}

func (f *Fault) parseAmount(w []string) error {
	limits, has := amounts[f.Kind]
	if !has && len(w) == 0 {
		return nil
	}
	if !has || len(w) == 0 {
		return fmt.Errorf("%s: has it an amount? %v", f.Kind, has)
	}
	v, err := strconv.ParseFloat(w[0], 64)
	if err != nil || !(v > limits[0] && v <= limits[1]) {
		return fmt.Errorf("%s: the amount is above %g and at most %g, not %q", f.Kind, limits[0], limits[1], w[0])
	}
	f.Amount = v
	return nil
}
