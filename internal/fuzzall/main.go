// Fuzzall runs every fuzz target of the module for a while, one after another:
// `go test -fuzz` takes only one at a time.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
)

func main() {
	length := flag.String("time", "5s", "how long each target runs")
	flag.Parse()
	list := exec.Command("go", "list", "-f", "{{.ImportPath}} {{.Dir}} {{join .TestGoFiles \" \"}} {{join .XTestGoFiles \" \"}}", "./...")
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		fmt.Fprintln(os.Stderr, "fuzzall: go list:", err)
		os.Exit(1)
	}
	failed := false
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		for _, target := range targets(f[1], f[2:]) {
			failed = !run(f[0], target, *length) || failed
		}
	}
	if failed {
		os.Exit(1)
	}
}

var fuzzFunc = regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`)

func targets(dir string, files []string) (names []string) {
	for _, file := range files {
		src, err := os.ReadFile(dir + "/" + file)
		if err != nil {
			continue
		}
		for _, m := range fuzzFunc.FindAllSubmatch(src, -1) {
			names = append(names, string(m[1]))
		}
	}
	return names
}

// outOfTime reports whether a run failed only because its time was up while a
// worker was busy, which go test calls a failure now and then (go.dev/issue/48591).
func outOfTime(output string) bool {
	return strings.Contains(output, "context deadline exceeded") && !strings.Contains(output, "Failing input")
}

func run(pkg, target, length string) bool {
	cmd := exec.Command("go", "test", "-pgo=off", "-run", "^$", "-fuzz", "^"+target+"$", "-fuzztime", length, "-fuzzminimizetime", "10x", pkg)
	var buf bytes.Buffer
	cmd.Stdout, cmd.Stderr = &buf, &buf
	if err := cmd.Run(); err != nil && !outOfTime(buf.String()) {
		fmt.Printf("FAIL  %s %s\n%s", pkg, target, buf.String())
		return false
	}
	fmt.Printf("ok    %s %s\n", pkg, target)
	return true
}
