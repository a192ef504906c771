package keepalived

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// finish looks at the configuration as a whole.
func (p *parser) finish() {
	p.finishGlobal()
	p.finishVRRP()
	p.finishLVS()
	p.finishScripts()
	p.finishHost()
}

func (p *parser) finishGlobal() {
	g := &p.config.Global
	g.SMTPConnectTimeout.orDefault(30 * time.Second)
	g.DownTimerAdverts.orDefault(3)
	g.Version.orDefault(2)
	g.DefaultInterface.orDefault("eth0")
	g.GARP.Delay.orDefault(5 * time.Second)
	g.GARP.Repeat.orDefault(5)
	g.GARP.RefreshRepeat.orDefault(1)
	g.GARP.LowerPrioDelay.orElse(g.GARP.Delay)
	g.GARP.LowerPrioRepeat.orElse(g.GARP.Repeat)
}

// finishScripts asks what keepalived asks before it runs scripts as root: with
// a script that is there, security has to be on.
func (p *parser) finishScripts() {
	secure := p.config.Global.EnableScriptSecurity.V
	absent := map[string]bool{}
	for _, m := range p.scripts {
		name := m.script.Args[0]
		if secure && m.script.User == "" && !p.config.Global.ScriptUser.Set() {
			p.late(m.userAt, Note, "without script_user the script runs as the user keepalived_script, if there is one; that is not checked", "")
			p.report.unchecked = append(p.report.unchecked, m.userAt)
		}
		switch {
		case strings.HasPrefix(name, "<"): // a file to read, nothing to run
		case !path.IsAbs(name) || !p.options.Files.Executable(name):
			absent[name] = true
		case !secure:
			p.late(m.at, Insecure, "the script "+shown(name)+" is run, but enable_script_security is not set", "set it in global_defs, with a script_user")
		default:
			p.late(m.at, Note, "the script "+shown(name)+": its permissions and its user are not checked", "keepalived refuses what others than root may change")
		}
	}
	if len(absent) > 0 {
		p.whole("scripts that are not here are not checked: " + strings.Join(slices.Sorted(maps.Keys(absent)), " "))
	}
}

// finishHost names what only the host that keepalived runs on can tell.
func (p *parser) finishHost() {
	delete(p.interfaces, "")
	if len(p.interfaces) > 0 {
		p.whole("interfaces are not checked: " + strings.Join(slices.Sorted(maps.Keys(p.interfaces)), " "))
	}
}

// whole reports about the configuration, at no line of it.
func (p *parser) whole(found string) {
	at := Pos{}
	if len(p.names) > 0 {
		at.File = p.names[0]
	}
	p.late(at, Note, found, "")
	p.report.unchecked = append(p.report.unchecked, at)
}

func (p *parser) lateInvalid(at Pos, format string, args ...any) {
	p.late(at, Invalid, fmt.Sprintf(format, args...), "")
}
