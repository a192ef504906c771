package shell

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
)

// textTools are the usual filters, with the options that people use.
var textTools = map[string]builtin{
	"cat":   cat,
	"cut":   cut,
	"egrep": grep,
	"fgrep": grep,
	"grep":  grep,
	"head":  head,
	"ls":    ls,
	"rm":    rm,
	"sed":   sed,
	"seq":   seq,
	"sort":  sortLines,
	"tail":  tail,
	"tee":   tee,
	"tr":    tr,
	"uniq":  uniq,
	"wc":    wc,
}

// options splits arguments into single-letter options, of which those in
// valued take a value, and operands. Long options stay as they are.
func options(args []string, valued string) (opts map[string]string, operands []string) {
	opts = map[string]string{}
	for len(args) > 0 {
		a := args[0]
		args = args[1:]
		switch {
		case a == "--":
			return opts, append(operands, args...)
		case strings.HasPrefix(a, "--"):
			name, value, _ := strings.Cut(a[2:], "=")
			opts[name] = value
		case len(a) > 1 && a[0] == '-':
			args = cluster(opts, a[1:], valued, args)
		default:
			operands = append(operands, a)
		}
	}
	return opts, operands
}

// cluster reads the letters of one argument and returns what follows it.
func cluster(opts map[string]string, letters, valued string, args []string) []string {
	for i := range len(letters) {
		c := letters[i : i+1]
		switch {
		case !strings.Contains(valued, c):
			opts[c] = ""
			continue
		case i+1 < len(letters):
			opts[c] = letters[i+1:]
		case len(args) > 0:
			opts[c], args = args[0], args[1:]
		}
		break
	}
	return args
}

func has(opts map[string]string, name string) bool {
	_, ok := opts[name]
	return ok
}

// unknown complains about options outside known.
func unknown(tool string, opts map[string]string, known string, errs io.Writer) bool {
	for o := range opts {
		if len(o) != 1 || !strings.Contains(known, o) {
			fmt.Fprintf(errs, "%s: invalid option -- '%s'\nTry '%s --help' for more information.\n", tool, o, tool)
			return true
		}
	}
	return false
}

// input is one of a tool's files.
type input struct {
	name string
	data []byte
}

// inputs reads the named files, or standard input if there are none. Those
// that cannot be read are complained about.
func (sh *Shell) inputs(tool string, names []string, s streams) (in []input, ok bool) {
	if len(names) == 0 {
		names = []string{"-"}
	}
	ok = true
	for _, name := range names {
		if name == "-" {
			data, _ := io.ReadAll(s.in)
			in = append(in, input{"-", data})
			continue
		}
		data, err := sh.Files.Read(sh.path(name))
		if err != nil {
			fmt.Fprintf(s.err, "%s: %s: %s\n", tool, name, reason(err))
			ok = false
			continue
		}
		in = append(in, input{name, data})
	}
	return in, ok
}

func reason(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "No such file or directory"
	case errors.Is(err, fs.ErrPermission):
		return "Permission denied"
	}
	return err.Error()
}

// lines splits text; a last line without a newline counts.
func lines(data []byte) []string {
	if len(data) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
}

func joined(in []input) []byte {
	var all []byte
	for _, f := range in {
		all = append(all, f.data...)
	}
	return all
}

func code(ok bool) int {
	if ok {
		return 0
	}
	return 1
}

func cat(sh *Shell, args []string, s streams) int {
	opts, names := options(args[1:], "")
	if unknown("cat", opts, "n", s.err) {
		return 1
	}
	in, ok := sh.inputs("cat", names, s)
	if !has(opts, "n") {
		s.out.Write(joined(in))
		return code(ok)
	}
	for i, line := range lines(joined(in)) {
		fmt.Fprintf(s.out, "%6d\t%s\n", i+1, line)
	}
	return code(ok)
}

func grep(sh *Shell, args []string, s streams) int {
	opts, rest := options(args[1:], "em")
	if unknown("grep", opts, "EFGcehilmnoqsvwx", s.err) {
		return statusUsage
	}
	pattern, ok := opts["e"]
	if !ok {
		if len(rest) == 0 {
			fmt.Fprintln(s.err, "Usage: grep [OPTION]... PATTERNS [FILE]...\nTry 'grep --help' for more information.")
			return statusUsage
		}
		pattern, rest = rest[0], rest[1:]
	}
	re, err := grepPattern(pattern, opts, args[0])
	if err != nil {
		fmt.Fprintf(s.err, "grep: %v\n", err)
		return statusUsage
	}
	in, ok := sh.inputs("grep", rest, s)
	matched := false
	for _, f := range in {
		prefix := ""
		if len(rest) > 1 && !has(opts, "h") {
			prefix = f.name + ":"
		}
		matched = grepFile(re, opts, f, prefix, s.out) || matched
	}
	if !ok {
		return statusUsage
	}
	return code(matched)
}

func grepPattern(pattern string, opts map[string]string, name string) (*regexp.Regexp, error) {
	switch {
	case has(opts, "F") || name == "fgrep":
		pattern = regexp.QuoteMeta(pattern)
	case !has(opts, "E") && name != "egrep":
		pattern = basic(pattern)
	}
	if has(opts, "w") {
		pattern = `\b(?:` + pattern + `)\b`
	}
	if has(opts, "x") {
		pattern = `^(?:` + pattern + `)$`
	}
	if has(opts, "i") {
		pattern = "(?i)" + pattern
	}
	return regexp.Compile(pattern)
}

func grepFile(re *regexp.Regexp, opts map[string]string, f input, prefix string, out io.Writer) bool {
	limit := len(f.data) + 1
	if m, err := strconv.Atoi(opts["m"]); err == nil {
		limit = m
	}
	found := 0
	for i, line := range lines(f.data) {
		if found >= limit {
			break
		}
		if re.MatchString(line) == has(opts, "v") {
			continue
		}
		found++
		if has(opts, "c") || has(opts, "q") || has(opts, "l") {
			continue
		}
		number := ""
		if has(opts, "n") {
			number = fmt.Sprintf("%d:", i+1)
		}
		shown := []string{line}
		if has(opts, "o") {
			shown = re.FindAllString(line, -1)
		}
		for _, text := range shown {
			fmt.Fprintln(out, prefix+number+text)
		}
	}
	switch {
	case has(opts, "q"):
	case has(opts, "c"):
		fmt.Fprintf(out, "%s%d\n", prefix, found)
	case has(opts, "l") && found > 0:
		fmt.Fprintln(out, f.name)
	}
	return found > 0
}

// basic turns a basic regular expression into one of Go's: there the operators
// are those with a backslash.
func basic(pattern string) string {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == '\\' && i+1 < len(pattern):
			i++
			if strings.IndexByte("(){}|+?", pattern[i]) < 0 {
				b.WriteByte('\\')
			}
			b.WriteByte(pattern[i])
		case strings.IndexByte("(){}|+?", c) >= 0, c == '*' && i == 0:
			b.WriteByte('\\')
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
