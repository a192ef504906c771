package sysctl

import (
	"fmt"
	"regexp"
	"strings"
)

const usage = `Usage: sysctl [OPTION]... [NAME[=VALUE]]...
Shows or changes settings of the director, net.ipv4.vs.*

  -w, --write          every word is a NAME=VALUE
  -a, -A, --all        show all settings
  -r, --pattern RE     only settings whose name matches
  -n, --values         values only
  -N, --names          names only
  -b, --binary         values only, without newlines
  -q, --quiet          do not show what was set
  -e, --ignore         no complaint about unknown names
      --dry-run        show what would be set
  -V, --version        whose command line this is
  -h, --help           this text
`

// version is whose grammar and output these are.
const version = "sysctl from procps-ng 4.0.2"

// long are the long names of options.
var long = map[string]byte{
	"write": 'w', "all": 'a', "pattern": 'r', "values": 'n', "names": 'N', "binary": 'b', "quiet": 'q',
	"ignore": 'e', "dry-run": 'D', "deprecated": 'x', "version": 'V', "help": 'h', "load": 'p', "system": 'S',
}

// options takes the options out of a command line, wherever they stand, and
// returns the rest. It reports true if there is nothing left to do.
func (r *run) options(args []string) (words []string, done bool) {
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "--":
			return append(words, args[i+1:]...), false
		case strings.HasPrefix(arg, "--"):
			name, value, has := strings.Cut(arg[2:], "=")
			c, ok := long[name]
			if !ok {
				return nil, r.misused("unrecognized option '%s'", arg)
			}
			if c == 'r' && !has {
				if i++; i == len(args) {
					return nil, r.misused("option '%s' requires an argument", arg)
				}
				value = args[i]
			}
			if r.option(c, value) {
				return nil, true
			}
		case len(arg) > 1 && arg[0] == '-':
			skip, stop := r.letters(arg[1:], args[i+1:])
			if i += skip; stop {
				return nil, true
			}
		default:
			words = append(words, arg)
		}
	}
	return words, false
}

// letters are the short options of one word. It returns how many of the words
// that follow belong to them.
func (r *run) letters(letters string, rest []string) (skip int, done bool) {
	for j := 0; j < len(letters); j++ {
		c := letters[j]
		value := ""
		switch {
		case strings.IndexByte("waAXnNbqerpfoxdVh", c) < 0:
			return 0, r.misused("invalid option -- '%c'", c)
		case c != 'r':
		case j+1 < len(letters):
			value, j = letters[j+1:], len(letters)
		case len(rest) == 0:
			return 0, r.misused("option requires an argument -- 'r'")
		default:
			value, skip = rest[0], 1
		}
		if r.option(c, value) {
			return skip, true
		}
	}
	return skip, false
}

// option takes in one option. It reports true if that was all.
func (r *run) option(c byte, value string) (done bool) {
	switch c {
	case 'w':
		r.write = true
	case 'a', 'A', 'X':
		r.all = true
	case 'n':
		r.form = valueOnly
	case 'N':
		r.form = nameOnly
	case 'b':
		r.form = bare
	case 'q':
		r.quiet = true
	case 'e':
		r.ignore = true
	case 'D':
		r.dry = true
	case 'r':
		re, err := regexp.Compile(value)
		r.pattern = re
		return err != nil // silently, as it is
	case 'V':
		fmt.Fprintln(r.out, version)
		return true
	case 'h', 'd':
		fmt.Fprint(r.out, usage)
		return true
	case 'p', 'f', 'S':
		r.fail("settings are not read from files: put `sysctl -w' lines into the director's rules file")
		return true
	}
	return false
}

// misused complains about an option; the exit status is 0 all the same.
func (r *run) misused(format string, args ...any) bool {
	fmt.Fprintf(r.err, "sysctl: "+format+"\n", args...)
	fmt.Fprint(r.out, usage)
	return true
}
