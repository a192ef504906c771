// Testrun runs `go test` and ends with a list of every test that was skipped
// and why, because a skip that nobody sees is a hole in the suite. With
// USVS_REQUIRE=1 a skip is a failure.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// event is a line of `go test -json` (cmd/test2json).
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
	Elapsed float64
}

type result struct {
	passed, failed int
	skipped        []string
	output         map[string][]string // of tests and packages that may still fail
}

func main() {
	cmd := exec.Command("go", append([]string{"test", "-json"}, os.Args[1:]...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testrun:", err)
		os.Exit(1)
	}
	r := result{output: map[string][]string{}}
	r.read(out)
	err = cmd.Wait()
	os.Exit(r.report(err != nil))
}

func (r *result) read(in io.Reader) {
	sc := bufio.NewScanner(in)
	sc.Buffer(nil, 16<<20)
	for sc.Scan() {
		var e event
		if json.Unmarshal(sc.Bytes(), &e) != nil {
			fmt.Println(sc.Text()) // a build error, for instance
			continue
		}
		r.add(e)
	}
}

func (r *result) add(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "output", "build-output":
		r.output[key] = append(r.output[key], e.Output)
		return
	case "pass":
		if e.Test != "" {
			r.passed++
		} else {
			fmt.Printf("ok    %-28s %6.1fs\n", e.Package, e.Elapsed)
		}
	case "fail", "build-fail":
		if e.Test != "" {
			r.failed++
		}
		fmt.Printf("FAIL  %s\n%s", key, strings.Join(r.output[key], ""))
	case "skip":
		if e.Test != "" {
			r.skipped = append(r.skipped, key+": "+reason(r.output[key]))
		}
	default:
		return
	}
	delete(r.output, key)
}

// reason is the text a test gave to Skip: the last line it printed that is not
// the test framework's.
func reason(lines []string) string {
	for i := len(lines) - 1; i >= 0; i-- {
		l := strings.TrimSpace(lines[i])
		if l != "" && !strings.HasPrefix(l, "---") && !strings.HasPrefix(l, "===") {
			return l
		}
	}
	return "no reason given"
}

func (r *result) report(failed bool) int {
	if len(r.skipped) > 0 {
		fmt.Println("\nskipped:")
		for _, s := range r.skipped {
			fmt.Println("  " + s)
		}
		if os.Getenv("USVS_REQUIRE") == "1" {
			fmt.Println("USVS_REQUIRE=1: a skip is a failure (make deps installs what the tests use)")
			failed = true
		}
	}
	fmt.Printf("\n%d passed, %d failed, %d skipped\n", r.passed, r.failed, len(r.skipped))
	if failed || r.failed > 0 {
		return 1
	}
	return 0
}
