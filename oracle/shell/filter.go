package shell

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// counted reads head's and tail's arguments: -n N, -N, -c N.
func counted(args []string) (count, unit string, names []string) {
	count, unit = "10", "n"
	for len(args) > 0 {
		a := args[0]
		args = args[1:]
		switch {
		case a == "-n" || a == "-c":
			unit = a[1:]
			if len(args) > 0 {
				count, args = args[0], args[1:]
			}
		case strings.HasPrefix(a, "-n") || strings.HasPrefix(a, "-c"):
			unit, count = a[1:2], a[2:]
		case len(a) > 1 && a[0] == '-' && a[1] >= '0' && a[1] <= '9':
			count = a[1:]
		default:
			names = append(names, a)
		}
	}
	return count, unit, names
}

// cutEnds is head or tail: part selects of so many lines or bytes.
func (sh *Shell) cutEnds(tool string, args []string, s streams, part func(total, n int, count string) (from, to int)) int {
	count, unit, names := counted(args[1:])
	n, err := strconv.Atoi(strings.TrimLeft(count, "+-"))
	if err != nil {
		fmt.Fprintf(s.err, "%s: invalid number of %s: '%s'\n", tool, map[string]string{"n": "lines", "c": "bytes"}[unit], count)
		return 1
	}
	in, ok := sh.inputs(tool, names, s)
	for i, f := range in {
		if len(names) > 1 {
			fmt.Fprintf(s.out, "%s==> %s <==\n", strings.Repeat("\n", min(i, 1)), f.name)
		}
		pieces := bytes.SplitAfter(f.data, []byte("\n"))
		if unit == "c" {
			pieces = bytes.SplitAfter(f.data, nil)
		}
		if len(pieces) > 0 && len(pieces[len(pieces)-1]) == 0 {
			pieces = pieces[:len(pieces)-1]
		}
		from, to := part(len(pieces), n, count)
		s.out.Write(bytes.Join(pieces[from:to], nil))
	}
	return code(ok)
}

func head(sh *Shell, args []string, s streams) int {
	return sh.cutEnds("head", args, s, func(total, n int, count string) (int, int) {
		if strings.HasPrefix(count, "-") {
			return 0, max(total-n, 0)
		}
		return 0, min(n, total)
	})
}

func tail(sh *Shell, args []string, s streams) int {
	return sh.cutEnds("tail", args, s, func(total, n int, count string) (int, int) {
		if strings.HasPrefix(count, "+") {
			return min(max(n-1, 0), total), total
		}
		return max(total-n, 0), total
	})
}

// wc pads its numbers as the original does: to the width of the largest
// possible one, or to 7 for standard input.
func wc(sh *Shell, args []string, s streams) int {
	opts, names := options(args[1:], "")
	if unknown("wc", opts, "lwcm", s.err) {
		return 1
	}
	in, ok := sh.inputs("wc", names, s)
	var total [3]int
	size := 0
	for _, f := range in {
		if !strings.HasPrefix(f.name, "/proc/") { // whose files have no size
			size += len(f.data)
		}
	}
	width := len(strconv.Itoa(size))
	if len(names) == 0 {
		width = 7
	}
	shown := shownCounts(opts)
	if len(shown) == 1 && len(names) < 2 {
		width = 1
	}
	print := func(n [3]int, name string) {
		for i, k := range shown {
			fmt.Fprintf(s.out, "%s%*d", strings.Repeat(" ", min(i, 1)), width, n[k])
		}
		fmt.Fprintln(s.out, name)
	}
	for _, f := range in {
		n := [3]int{bytes.Count(f.data, []byte("\n")), len(bytes.Fields(f.data)), len(f.data)}
		for i := range n {
			total[i] += n[i]
		}
		name := ""
		if len(names) > 0 {
			name = " " + f.name
		}
		print(n, name)
	}
	if len(names) > 1 {
		print(total, " total")
	}
	return code(ok)
}

// shownCounts are those of lines, words and bytes that were asked for.
func shownCounts(opts map[string]string) []int {
	var shown []int
	for i, o := range []string{"l", "w", "c"} {
		if has(opts, o) || o == "c" && has(opts, "m") {
			shown = append(shown, i)
		}
	}
	if shown == nil {
		return []int{0, 1, 2}
	}
	return shown
}

func sortLines(sh *Shell, args []string, s streams) int {
	opts, names := options(args[1:], "kto")
	if unknown("sort", opts, "nrukt", s.err) {
		return statusUsage
	}
	in, ok := sh.inputs("sort", names, s)
	rows := lines(joined(in))
	key := sortKey(opts)
	slices.SortStableFunc(rows, func(a, b string) int {
		c := 0
		if has(opts, "n") {
			c = cmp.Compare(leadingNumber(key(a)), leadingNumber(key(b)))
		} else {
			c = strings.Compare(key(a), key(b))
		}
		if c == 0 && !has(opts, "u") {
			c = strings.Compare(a, b)
		}
		if has(opts, "r") {
			return -c
		}
		return c
	})
	if has(opts, "u") {
		rows = slices.CompactFunc(rows, func(a, b string) bool { return key(a) == key(b) })
	}
	for _, row := range rows {
		fmt.Fprintln(s.out, row)
	}
	return code(ok)
}

// sortKey is what lines are compared by: from a field on, or the whole line.
func sortKey(opts map[string]string) func(string) string {
	first, last, _ := strings.Cut(opts["k"], ",")
	from, err := strconv.Atoi(strings.TrimRight(first, "nr"))
	if err != nil || from < 1 {
		return func(line string) string { return line }
	}
	to, err := strconv.Atoi(strings.TrimRight(last, "nr"))
	if err != nil {
		to = 1 << 30
	}
	return func(line string) string {
		f := strings.Fields(line)
		if sep, ok := opts["t"]; ok {
			f = strings.Split(line, sep)
		}
		return strings.Join(f[min(from-1, len(f)):min(max(to, from-1), len(f))], " ")
	}
}

func leadingNumber(s string) float64 {
	s = strings.TrimSpace(s)
	n := 0
	for n < len(s) && (s[n] >= '0' && s[n] <= '9' || s[n] == '.' || n == 0 && s[n] == '-') {
		n++
	}
	v, _ := strconv.ParseFloat(s[:n], 64)
	return v
}

func uniq(sh *Shell, args []string, s streams) int {
	opts, names := options(args[1:], "")
	if unknown("uniq", opts, "cdu", s.err) {
		return 1
	}
	in, ok := sh.inputs("uniq", names, s)
	rows := lines(joined(in))
	for i := 0; i < len(rows); {
		n := 1
		for i+n < len(rows) && rows[i+n] == rows[i] {
			n++
		}
		switch {
		case has(opts, "d") && n == 1, has(opts, "u") && n > 1:
		case has(opts, "c"):
			fmt.Fprintf(s.out, "%7d %s\n", n, rows[i])
		default:
			fmt.Fprintln(s.out, rows[i])
		}
		i += n
	}
	return code(ok)
}

func cut(sh *Shell, args []string, s streams) int {
	opts, names := options(args[1:], "dfc")
	if unknown("cut", opts, "dfcs", s.err) {
		return 1
	}
	list, sep := opts["f"], "\t"
	if d, ok := opts["d"]; ok {
		sep = d
	}
	if c, ok := opts["c"]; ok {
		list, sep = c, ""
	}
	in, ok := sh.inputs("cut", names, s)
	for _, line := range lines(joined(in)) {
		if sep != "" && !strings.Contains(line, sep) {
			if !has(opts, "s") {
				fmt.Fprintln(s.out, line)
			}
			continue
		}
		var kept []string
		for i, field := range strings.Split(line, sep) {
			if inList(list, i+1) {
				kept = append(kept, field)
			}
		}
		fmt.Fprintln(s.out, strings.Join(kept, sep))
	}
	return code(ok)
}

// inList reports whether n is in a list like 1,3-5,7-.
func inList(list string, n int) bool {
	for _, r := range strings.Split(list, ",") {
		first, last, isRange := strings.Cut(r, "-")
		lo, err := strconv.Atoi(first)
		if err != nil {
			lo = 1
		}
		hi := lo
		if isRange {
			if hi, err = strconv.Atoi(last); err != nil {
				hi = n
			}
		}
		if lo <= n && n <= hi {
			return true
		}
	}
	return false
}

// tr translates or deletes characters; its sets may have ranges.
func tr(_ *Shell, args []string, s streams) int {
	opts, sets := options(args[1:], "")
	data, _ := io.ReadAll(s.in)
	if unknown("tr", opts, "ds", s.err) || len(sets) == 0 {
		return 1
	}
	from := charSet(sets[0])
	to := ""
	if len(sets) > 1 {
		to = charSet(sets[1])
	}
	var out []byte
	for _, c := range data {
		i := strings.IndexByte(from, c)
		switch {
		case i < 0:
		case has(opts, "d"):
			continue
		case to != "":
			c = to[min(i, len(to)-1)]
		}
		if has(opts, "s") && i >= 0 && len(out) > 0 && out[len(out)-1] == c {
			continue
		}
		out = append(out, c)
	}
	s.out.Write(out)
	return 0
}

func charSet(s string) string {
	s, _ = unescape(s, false)
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if i+2 < len(s) && s[i+1] == '-' && s[i] <= s[i+2] {
			for c := int(s[i]); c <= int(s[i+2]); c++ {
				b.WriteByte(byte(c))
			}
			i += 2
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func tee(sh *Shell, args []string, s streams) int {
	opts, names := options(args[1:], "")
	data, _ := io.ReadAll(s.in)
	s.out.Write(data)
	ok := true
	for _, name := range names {
		if err := sh.Files.Write(sh.path(name), data, has(opts, "a")); err != nil {
			fmt.Fprintf(s.err, "tee: %s: %s\n", name, reason(err))
			ok = false
		}
	}
	return code(ok)
}

func seq(_ *Shell, args []string, s streams) int {
	n := []int{1, 1, 0}
	switch args = args[1:]; len(args) {
	case 1:
		args = []string{"1", "1", args[0]}
	case 2:
		args = []string{args[0], "1", args[1]}
	case 3:
	default:
		fmt.Fprintln(s.err, "seq: missing operand")
		return 1
	}
	for i := range n {
		v, err := strconv.Atoi(args[i])
		if err != nil || i == 1 && v == 0 {
			fmt.Fprintf(s.err, "seq: invalid floating point argument: '%s'\n", args[i])
			return 1
		}
		n[i] = v
	}
	for v, count := n[0], 0; count < maxSteps && (n[1] > 0 && v <= n[2] || n[1] < 0 && v >= n[2]); v, count = v+n[1], count+1 {
		fmt.Fprintln(s.out, v)
	}
	return 0
}

func ls(sh *Shell, args []string, s streams) int {
	opts, names := options(args[1:], "")
	if unknown("ls", opts, "1a", s.err) {
		return statusUsage
	}
	if len(names) == 0 {
		names = []string{"."}
	}
	status := 0
	var files []string
	var dirs []string
	for _, name := range names {
		switch _, err := sh.Files.Read(sh.path(name)); {
		case err == nil:
			files = append(files, name)
		case errors.Is(err, ErrDirectory):
			dirs = append(dirs, name)
		default:
			fmt.Fprintf(s.err, "ls: cannot access '%s': %s\n", name, reason(err))
			status = statusUsage
		}
	}
	for _, f := range files {
		fmt.Fprintln(s.out, f)
	}
	for i, d := range dirs {
		if len(names) > 1 {
			fmt.Fprintf(s.out, "%s%s:\n", strings.Repeat("\n", min(i+len(files), 1)), d)
		}
		list, _ := sh.Files.List(sh.path(d))
		for _, f := range list {
			fmt.Fprintln(s.out, f)
		}
	}
	return status
}

func rm(sh *Shell, args []string, s streams) int {
	opts, names := options(args[1:], "")
	remover, able := sh.Files.(interface{ Remove(name string) error })
	status := 0
	for _, name := range names {
		if able && remover.Remove(sh.path(name)) == nil || has(opts, "f") {
			continue
		}
		fmt.Fprintf(s.err, "rm: cannot remove '%s': No such file or directory\n", name)
		status = 1
	}
	return status
}
