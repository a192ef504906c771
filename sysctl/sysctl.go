package sysctl

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"usvs/ipvs"
)

// Settings are the values of what ipvs.SysctlKeys lists; *control.Control has
// them, and so has a client of a running director.
type Settings interface {
	// Sysctl returns a value as its file contains it; the error of a name that
	// there is not is ipvs.ErrNoEntry.
	Sysctl(name string) (string, error)
	// SetSysctl does what writing to the file does; a value that is refused
	// is ipvs.ErrInvalid.
	SetSysctl(name, value string) error
}

// Prefix is what the names of all settings start with.
const Prefix = "net.ipv4.vs."

const directory = "net.ipv4.vs"

// Run executes a command line, without the command's name, and returns its
// exit status.
func Run(args []string, s Settings, stdout, stderr io.Writer) int {
	r := run{settings: s, out: stdout, err: stderr}
	words, done := r.options(args)
	switch {
	case done:
		return r.status
	case r.all:
		r.list(directory)
	case len(args) == 0:
		fmt.Fprint(stderr, usage)
		return 1
	case len(words) == 0:
		r.fail("no variables specified")
		fmt.Fprintln(stderr, "Try `sysctl --help' for more information.")
		return r.status
	}
	for _, w := range words {
		if !r.write && !strings.Contains(w, "=") {
			r.read(w)
			continue
		}
		switch {
		case len(w) < 2:
			r.status = 1 // without a word
		case strings.HasPrefix(strings.TrimSpace(w), "="):
			r.fail("Path is not under /proc/sys/: /proc/sys/")
		default:
			r.assign(w)
		}
	}
	return r.status
}

// Ours reports whether a word of a command line names a setting below
// net.ipv4.vs, or all of them.
func Ours(word string) bool {
	key, _, _ := strings.Cut(word, "=")
	name := strings.TrimPrefix(dotted(strings.TrimSpace(key)), "-")
	return name == directory || strings.HasPrefix(name, Prefix)
}

// run is one execution.
type run struct {
	settings Settings
	out, err io.Writer
	status   int

	all, write, quiet, ignore, dry bool
	form                           form
	pattern                        *regexp.Regexp
}

// form is how a setting is shown.
type form uint8

const (
	pair      form = iota // name = value
	valueOnly             // -n
	nameOnly              // -N
	bare                  // -b: the value without a newline
)

func (r *run) fail(format string, args ...any) {
	fmt.Fprintf(r.err, "sysctl: "+format+"\n", args...)
	r.status = 1
}

func (r *run) matches(name string) bool { return r.pattern == nil || r.pattern.MatchString(name) }

// dotted is a name as it is shown. One that separates by slashes may have dots
// in its parts.
func dotted(name string) string {
	if i := strings.IndexAny(name, "./"); i < 0 || name[i] == '.' {
		return name
	}
	return strings.Map(func(c rune) rune {
		switch c {
		case '/':
			return '.'
		case '.':
			return '/'
		}
		return c
	}, name)
}

// missing complains about a name that there is not.
func (r *run) missing(name string) {
	if !r.ignore {
		r.fail("cannot stat /proc/sys/%s: No such file or directory", strings.ReplaceAll(name, ".", "/"))
	}
}

// read shows one setting, or all of a directory.
func (r *run) read(word string) {
	name := dotted(word)
	if name == directory {
		r.list(name)
		return
	}
	value, ok := r.get(name)
	if ok && r.matches(name) {
		r.show(name, value)
	}
}

// get returns a setting's value, or complains.
func (r *run) get(name string) (string, bool) {
	key, ours := strings.CutPrefix(strings.TrimPrefix(name, "."), Prefix)
	if !ours {
		r.missing(name)
		return "", false
	}
	value, err := r.settings.Sysctl(key)
	switch {
	case errors.Is(err, ipvs.ErrNoEntry):
		r.missing(name)
	case err != nil:
		r.fail("%v", err)
	}
	return value, err == nil
}

func (r *run) list(dir string) {
	for _, key := range ipvs.SysctlKeys() {
		name := dir + "." + key
		if !r.matches(name) {
			continue
		}
		if _, err := r.settings.Sysctl(key); errors.Is(err, ipvs.ErrNoEntry) {
			continue // its module is not loaded
		}
		if value, ok := r.get(name); ok {
			r.show(name, value)
		}
	}
}

func (r *run) show(name, value string) {
	switch r.form {
	case nameOnly:
		fmt.Fprintln(r.out, name)
	case valueOnly:
		fmt.Fprintln(r.out, value)
	case bare:
		fmt.Fprint(r.out, value)
	default:
		fmt.Fprintf(r.out, "%s = %s\n", name, value)
	}
}

// assign carries out NAME=VALUE, with blanks around the = if the shell left
// them there. What it shows is what was written, not what came of it.
func (r *run) assign(word string) {
	key, value, ok := strings.Cut(word, "=")
	name := strings.TrimPrefix(dotted(strings.TrimSpace(key)), "-")
	value = strings.TrimSpace(value)
	switch {
	case !ok:
		r.fail("command line(0): invalid syntax, continuing...")
		return
	case !r.matches(name):
		r.status = 1
		return
	}
	if _, ok := r.get(name); !ok {
		return
	}
	if !r.dry {
		if err := r.settings.SetSysctl(strings.TrimPrefix(strings.TrimPrefix(name, "."), Prefix), value); err != nil {
			r.refused(name, err)
			return
		}
	}
	if r.quiet {
		return
	}
	if r.form == nameOnly {
		r.form = valueOnly // as it is
	}
	r.show(name, value)
}

func (r *run) refused(name string, err error) {
	if errors.Is(err, ipvs.ErrInvalid) {
		r.fail("setting key %q: Invalid argument", name)
		return
	}
	r.fail("setting key %q: %v", name, err)
}
