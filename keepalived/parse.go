package keepalived

import "strings"

// Options is what a configuration is read with.
type Options struct {
	Files Files
	// ConfigID decides @ conditions: the name of the host up to its first dot.
	ConfigID string
	// Dir is the working directory, for ${_PWD}.
	Dir string
	// Extensions allows keywords that only usvs knows; otherwise they are the
	// errors that they are for keepalived, and taken all the same.
	Extensions bool
}

// subject is what the blocks that are open fill.
type subject struct {
	instance *Instance
	group    *SyncGroup
	script_  *VRRPScript
	process  *TrackProcess
	file     *TrackFile
	tracked  *TrackGroup
	garp     *GARPGroup
	bfd      *BFDInstance
	ssl      *SSL
	vsGroup  *VirtualServerGroup
	vs       *VirtualServer
	rs       *RealServer
	check    *Checker
	url      *URL

	neighborLost bool
	met          map[string]Pos // keywords of which nothing is kept
	scripts      []mentioned
	interfaces   map[string]bool
}

// mentioned is a script and where it is named.
type mentioned struct {
	script Script
	at     Pos
	userAt Pos // where keepalived looks its user up
}

// mention notes a script for the questions about security at the end.
func (p *parser) mention(s Script, at Pos) { p.scripts = append(p.scripts, mentioned{s, at, at}) }

// onInterface notes an interface, which may not be there.
func (p *parser) onInterface(name string) {
	p.interfaces[name] = true
	p.report.unchecked = append(p.report.unchecked, p.at)
}

// Parse reads the configuration that name, a pattern as of glob(3), stands
// for. The Config is complete whatever the Report says: a statement that is in
// error is left out, or a default stands in for it.
func Parse(name string, options Options) (*Config, *Report) {
	p := newParser(options)
	p.read(name)
	return p.result()
}

func newParser(options Options) *parser {
	p := &parser{
		reader: reader{options: options, report: new(Report), defs: map[string][]string{}},
		config: new(Config),
	}
	p.interfaces, p.met = map[string]bool{}, map[string]Pos{}
	return p
}

// read reads all text.
func (p *parser) read(name string) {
	p.main(name)
	p.root(rootTable)
	p.config.Files = p.names
}

// result is what the text says as a whole.
func (p *parser) result() (*Config, *Report) {
	p.finish()
	p.report.finish(p.names)
	return p.config, p.report
}

// main opens the files to begin with. keepalived -t finds nothing wrong with
// a file that is not there; usvs does.
func (p *parser) main(name string) {
	p.at = Pos{File: name}
	names, err := p.options.Files.Match(name)
	if err != nil || len(names) == 0 {
		p.problem(Unavailable, "no such file", hintAbout(name))
		return
	}
	if len(names) > 1 {
		p.note(name+" is several files, read one after the other: "+strings.Join(names, " "), "")
	}
	if p.openFiles(names) == 0 {
		p.problem(Unavailable, "nothing to read", "keepalived reads regular files that nobody may execute")
	}
}

func hintAbout(name string) string {
	if name == "/etc/keepalived.conf" {
		return "keepalived's own place for it is /etc/keepalived/keepalived.conf"
	}
	return ""
}
