package keepalived

import (
	"fmt"
	"math"
	"time"
)

var scriptTable = newTable("vrrp_script", []*keyword{
	script("script", func(p *parser) *Value[Script] { return &p.script_.Script }).lenient(),
	wholeSeconds("interval", 1, maxTimerSecs, func(p *parser) *Value[time.Duration] { return &p.script_.Interval }),
	wholeSeconds("timeout", 1, maxTimerSecs, func(p *parser) *Value[time.Duration] { return &p.script_.Timeout }),
	weightKeyword(253, func(p *parser) *Value[Weight] { return &p.script_.Weight }).fatal(),
	number("rise", 1, math.MaxInt32, func(p *parser) *Value[int] { return &p.script_.Rise }),
	number("fall", 1, math.MaxInt32, func(p *parser) *Value[int] { return &p.script_.Fall }),
	custom("user", 1, "USER [GROUP]", func(p *parser, s statement) { p.script_.User.set(User{s.arg(1), s.arg(2)}, s.at) }),
	present("init_fail", func(p *parser) *Value[bool] { return &p.script_.InitFail }),
})

// weightKeyword is a signed number and which way it counts.
func weightKeyword(most int, field func(*parser) *Value[Weight]) *keyword {
	return custom("weight", 1, fmt.Sprintf("%d to %d [reverse|noreverse]", -most, most), func(p *parser, s statement) {
		v, ok := p.integer(s.arg(1), -most, most, "weight")
		if !ok {
			return
		}
		w := Weight{Value: v, Reverse: s.arg(2) == "reverse"}
		if s.arg(2) != "" && s.arg(2) != "reverse" && s.arg(2) != "noreverse" {
			p.invalid("weight "+shown(s.arg(2)), "valid is reverse or noreverse")
			return
		}
		field(p).set(w, s.at)
	})
}

// fatal makes a missing word one at which keepalived ends.
func (k *keyword) fatal() *keyword { k.missing = Fatal; return k }

func beginScript(p *parser, s statement) {
	p.script_ = &VRRPScript{Name: s.arg(1), At: s.at}
	p.config.VRRPScripts = append(p.config.VRRPScripts, p.script_)
}

func endScript(p *parser, s statement) {
	v := p.script_
	if v.User.Set() {
		v.Script.V.User, v.Script.V.Group = v.User.V.Name, v.User.V.Group
	}
	if !v.Script.Set() {
		p.invalid("vrrp_script "+v.Name+" without script", "")
		p.config.VRRPScripts = without(p.config.VRRPScripts, v)
	}
	v.Interval.orDefault(time.Second)
	v.Timeout.orDefault(v.Interval.V)
	v.Rise.orDefault(1)
	v.Fall.orDefault(1)
}

// without is a list less one of its members.
func without[T any](list []*T, lost *T) (left []*T) {
	for _, x := range list {
		if x != lost {
			left = append(left, x)
		}
	}
	return left
}

var processTable = newTable("vrrp_track_process", []*keyword{
	custom("process", 1, "NAME [ARGUMENT...]", func(p *parser, s statement) { p.process.Process.set(s.words[1:], s.at) }),
	custom("param_match", 1, "initial or partial", func(p *parser, s statement) {
		if p.oneOf(s, "initial", "partial") {
			p.process.ParamMatch.set(s.arg(1), s.at)
		}
	}).lenient(),
	weightKeyword(254, func(p *parser) *Value[Weight] { return &p.process.Weight }).lenient(),
	number("quorum", 1, math.MaxUint16, func(p *parser) *Value[int] { return &p.process.Quorum }),
	number("quorum_max", 0, math.MaxUint16, func(p *parser) *Value[int] { return &p.process.QuorumMax }),
	seconds("delay", microsecond, time.Hour, func(p *parser) *Value[time.Duration] { return &p.process.ForkDelay }),
	seconds("fork_delay", microsecond, time.Hour, func(p *parser) *Value[time.Duration] { return &p.process.ForkDelay }),
	seconds("terminate_delay", microsecond, time.Hour, func(p *parser) *Value[time.Duration] { return &p.process.TerminateDelay }),
	present("full_command", func(p *parser) *Value[bool] { return &p.process.FullCommandName }),
})

func beginProcess(p *parser, s statement) {
	p.process = &TrackProcess{Name: s.arg(1), At: s.at}
	p.config.TrackProcesses = append(p.config.TrackProcesses, p.process)
}

func endProcess(p *parser, s statement) {
	if t := p.process; !t.Process.Set() {
		p.invalid("vrrp_track_process "+t.Name+" without process", "")
		p.config.TrackProcesses = without(p.config.TrackProcesses, t)
	}
	p.process.Quorum.orDefault(1)
}

var trackFileTable = newTable("track_file", []*keyword{
	custom("file", 1, "PATH", func(p *parser, s statement) {
		if f := p.file; f.File.Set() {
			p.invalid("file again; the first counts", "it was set in line "+fmt.Sprint(f.File.At.Line))
			return
		}
		p.file.File.set(s.arg(1), s.at)
	}).lenient(),
	weightKeyword(254, func(p *parser) *Value[Weight] { return &p.file.Weight }).lenient(),
	custom("init_file", 0, "[VALUE] [overwrite]", initFile),
})

func initFile(p *parser, s statement) {
	for _, w := range s.words[1:] {
		switch {
		case w == "overwrite":
			p.file.Overwrite.set(true, s.at)
		case w[:min(1, len(w))] == "-" || w != "" && isDigit(w[0]):
			if v, ok := p.integer(w, math.MinInt32, math.MaxInt32, "init_file"); ok {
				p.file.InitValue.set(v, s.at)
			}
		default:
			p.invalid("init_file "+shown(w), "valid is a number and overwrite")
		}
	}
}

func beginTrackFile(p *parser, s statement) {
	p.file = &TrackFile{Name: s.arg(1), At: s.at}
	p.config.TrackFiles = append(p.config.TrackFiles, p.file)
}

func endTrackFile(p *parser, s statement) {
	f := p.file
	if !f.File.Set() {
		p.invalid("track_file "+f.Name+" without file", "")
		p.config.TrackFiles = without(p.config.TrackFiles, f)
	}
	f.Weight.orDefault(Weight{Value: 1})
}

// maxWeight is what a tracked object can add to a priority.
const maxWeight = 253

// trackRows are the blocks that name what an instance or a group depends on.
func trackRows(of func(*parser) *Tracks) []*keyword {
	return []*keyword{
		trackKeyword("track_interface", 254, func(p *parser) *[]Track { return &of(p).Interfaces }, func(p *parser, name string) bool {
			p.onInterface(name)
			return true
		}),
		trackKeyword("track_script", 254, func(p *parser) *[]Track { return &of(p).Scripts }, func(p *parser, name string) bool {
			return named(p.config.VRRPScripts, func(s *VRRPScript) string { return s.Name }, name)
		}),
		trackKeyword("track_file", 254, func(p *parser) *[]Track { return &of(p).Files }, func(p *parser, name string) bool {
			return named(p.config.TrackFiles, func(s *TrackFile) string { return s.Name }, name)
		}),
		trackKeyword("track_process", 254, func(p *parser) *[]Track { return &of(p).Processes }, func(p *parser, name string) bool {
			return named(p.config.TrackProcesses, func(s *TrackProcess) string { return s.Name }, name)
		}),
		trackKeyword("track_bfd", 253, func(p *parser) *[]Track { return &of(p).BFDs }, func(p *parser, name string) bool {
			return named(p.config.BFDInstances, func(s *BFDInstance) string { return s.Name }, name)
		}).inert(),
	}
}

// named reports whether a list has a member with the name.
func named[T any](list []*T, name func(*T) string, want string) bool {
	for _, x := range list {
		if name(x) == want {
			return true
		}
	}
	return false
}

func trackKeyword(keyword string, most int, field func(*parser) *[]Track, defined func(*parser, string) bool) *keyword {
	return list(keyword, "lines of NAME [weight N [reverse|noreverse]]", func(p *parser, s statement) {
		t := Track{Name: s.words[0], At: s.at}
		if !defined(p, t.Name) {
			p.invalid(fmt.Sprintf("%s %s: not defined before this line", keyword, shown(t.Name)), "")
			return
		}
		for _, other := range *field(p) {
			if other.Name == t.Name {
				p.invalid(fmt.Sprintf("%s %s again", keyword, t.Name), "it was named in line "+fmt.Sprint(other.At.Line))
				return
			}
		}
		p.trackOptions(keyword, &t, s, most)
		*field(p) = append(*field(p), t)
	})
}

// trackOptions reads what follows the name: a weight.
func (p *parser) trackOptions(keyword string, t *Track, s statement, most int) {
	if len(s.words) == 1 {
		return
	}
	if s.words[1] != "weight" {
		p.invalid(fmt.Sprintf("%s %s", t.Name, shown(s.words[1])), "valid is weight")
		return
	}
	if len(s.words) == 2 {
		p.invalid(t.Name+" weight without its value", "")
		return
	}
	v, ok := p.integer(s.words[2], -most, most, t.Name+" weight")
	if !ok {
		return
	}
	if most == maxWeight+1 && keyword != "track_file" && keyword != "track_process" && (v == most || v == -most) {
		p.invalid(fmt.Sprintf("%s weight %d is out of range", t.Name, v), fmt.Sprintf("valid is %d to %d", -maxWeight, maxWeight))
		v -= v / most
	}
	t.Weight, t.Weighted = v, true
	switch s.arg(3) {
	case "", "noreverse":
	case "reverse":
		t.Reverse = true
	default:
		p.invalid(fmt.Sprintf("%s weight %s", t.Name, shown(s.arg(3))), "valid is reverse or noreverse")
	}
}
