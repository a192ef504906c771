// Fuzzall runs every fuzz target of the module for a while: `go test -fuzz` takes
// only one at a time. Each package's test binary is built once, and as many
// packages are at work as there are processors, each with one fuzzing worker.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
)

func main() {
	length := flag.String("time", "5s", "how long each target runs")
	flag.Parse()
	if err := fuzzAll(*length); err != nil {
		fmt.Fprintln(os.Stderr, "fuzzall:", err)
		os.Exit(1)
	}
}

func fuzzAll(length string) error {
	list, err := packages()
	if err != nil {
		return err
	}
	cache, err := output("go", "env", "GOCACHE")
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "usvs-fuzz")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	waiting := make(chan *fuzzed)
	var failed atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for p := range waiting {
				failed.Add(int64(p.run(dir, filepath.Join(strings.TrimSpace(cache), "fuzz"), length)))
			}
		})
	}
	for i := range list {
		waiting <- &list[i]
	}
	close(waiting)
	wg.Wait()
	if n := failed.Load(); n > 0 {
		return fmt.Errorf("%d failed", n)
	}
	return nil
}

// fuzzed is a package with fuzz targets.
type fuzzed struct {
	path, dir string
	targets   []string
}

func packages() (list []fuzzed, err error) {
	out, err := output("go", "list", "-f", "{{.ImportPath}} {{.Dir}} {{join .TestGoFiles \" \"}} {{join .XTestGoFiles \" \"}}", "./...")
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if names := targets(f[1], f[2:]); len(names) > 0 {
			list = append(list, fuzzed{f[0], f[1], names})
		}
	}
	return list, err
}

func output(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s %s: %w", name, args[0], err)
	}
	return string(out), err
}

var fuzzFunc = regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`)

func targets(dir string, files []string) (names []string) {
	for _, file := range files {
		src, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			continue
		}
		for _, m := range fuzzFunc.FindAllSubmatch(src, -1) {
			names = append(names, string(m[1]))
		}
	}
	return names
}

// run builds the package's test binary and runs every target. -fuzz would have
// everything instrumented that the binary is made of, the standard library as
// well; here this module is, whose branches are to be found. What is found to be
// interesting is kept where go test keeps it.
func (p *fuzzed) run(dir, cache, length string) (failed int) {
	binary := filepath.Join(dir, strings.ReplaceAll(p.path, "/", "_"))
	build := exec.Command("go", "test", "-c", "-pgo=off", "-gcflags", "usvs/...=-d=libfuzzer", "-ldflags", "-s -w", "-o", binary, p.path)
	if text, err := build.CombinedOutput(); err != nil {
		fmt.Printf("FAIL  %s\n%s", p.path, text)
		return 1
	}
	defer os.Remove(binary)
	for _, target := range p.targets {
		cmd := exec.Command(binary, "-test.run", "^$", "-test.fuzz", "^"+target+"$", "-test.fuzztime", length,
			"-test.fuzzminimizetime", "10x", "-test.parallel", "1", "-test.fuzzcachedir", filepath.Join(cache, p.path))
		cmd.Dir = p.dir
		if text, err := cmd.CombinedOutput(); err != nil && !outOfTime(text) {
			fmt.Printf("FAIL  %s %s\n%s", p.path, target, text)
			failed++
			continue
		}
		fmt.Printf("ok    %s %s\n", p.path, target)
	}
	return failed
}

// outOfTime reports whether a run failed only because its time was up while a
// worker was busy, which the fuzzer calls a failure now and then (go.dev/issue/48591).
func outOfTime(text []byte) bool {
	return bytes.Contains(text, []byte("context deadline exceeded")) && !bytes.Contains(text, []byte("Failing input"))
}
