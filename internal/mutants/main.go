// Mutants tries the tests' teeth: it builds usvs with one deliberate mistake
// after another, and sees whether `usvs sim` or `usvs sim fuzz` notice within a
// minute each, or, of what they do not take, the package's tests. The sources stay as they are (go build -overlay).
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// patience is how long a mistake may stay unnoticed.
const patience = time.Minute

func main() {
	only := flag.String("only", "", "only the defects with this in their names")
	flag.Parse()
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		fatal(err)
	}
	survivors, err := try(dir, *only)
	os.RemoveAll(dir)
	if err != nil {
		fatal(err)
	}
	if len(survivors) > 0 {
		fatal(fmt.Errorf("not noticed: %s", strings.Join(survivors, ", ")))
	}
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "mutants:", err)
	os.Exit(1)
}

// try returns the defects that nobody noticed.
func try(dir, only string) (survivors []string, err error) {
	sane := defect{name: "none"}
	if err := sane.build(dir); err != nil {
		return nil, err
	}
	if by, _ := notice(dir, 20*time.Second); by != "" {
		return nil, fmt.Errorf("%s fails without any defect", by)
	}
	for _, group := range []struct {
		defects []defect
		notice  func(d *defect, dir string) (by string, took time.Duration, err error)
	}{{fastLane, (*defect).test}, {defects, (*defect).simulate}} {
		for _, d := range group.defects {
			if !strings.Contains(d.name, only) {
				continue
			}
			by, took, err := group.notice(&d, dir)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", d.name, err)
			}
			if by == "" {
				survivors = append(survivors, d.name)
				by = "NOBODY"
			}
			fmt.Printf("%-40s %-10s %5.1fs\n", d.name, by, took.Seconds())
		}
	}
	return survivors, nil
}

// simulate lets simulations run with the defect.
func (d *defect) simulate(dir string) (by string, took time.Duration, err error) {
	if err := d.build(dir); err != nil {
		return "", 0, err
	}
	by, took = notice(dir, patience)
	return by, took, nil
}

// test lets the tests of the defect's package run with it.
func (d *defect) test(dir string) (by string, took time.Duration, err error) {
	overlay, err := d.overlay(dir)
	if err != nil {
		return "", 0, err
	}
	begin := time.Now()
	tests := filepath.Join(dir, "tests")
	if out, err := exec.Command("go", "test", "-c", "-vet=off", "-o", tests, "-overlay", overlay, "./"+filepath.Dir(d.file)).CombinedOutput(); err != nil {
		return "", 0, fmt.Errorf("%w\n%s", err, out)
	}
	run := exec.Command(tests, "-test.short", "-test.timeout="+patience.String())
	run.Dir = filepath.Dir(d.file)
	if run.Run() != nil {
		by = "tests"
	}
	return by, time.Since(begin), nil
}

// build makes dir/usvs with the defect in it.
func (d *defect) build(dir string) error {
	args := []string{"build", "-o", filepath.Join(dir, "usvs")}
	if d.file != "" {
		overlay, err := d.overlay(dir)
		if err != nil {
			return err
		}
		args = append(args, "-overlay", overlay)
	}
	out, err := exec.Command("go", append(args, "./cmd/usvs")...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// overlay writes the defective source file, and what tells go build of it.
func (d *defect) overlay(dir string) (string, error) {
	text, err := os.ReadFile(d.file)
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(text), d.old); n != 1 {
		return "", fmt.Errorf("%s has %q %d times, not once: the list of defects needs an update", d.file, d.old, n)
	}
	changed := filepath.Join(dir, "changed.go")
	if err := os.WriteFile(changed, []byte(strings.Replace(string(text), d.old, d.new, 1)), 0o644); err != nil {
		return "", err
	}
	from, err := filepath.Abs(d.file)
	if err != nil {
		return "", err
	}
	list, err := json.Marshal(map[string]map[string]string{"Replace": {from: changed}})
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "overlay.json")
	return name, os.WriteFile(name, list, 0o644)
}

// notice returns which of the two failed first, the fuzz or the scenarios, and
// after how long.
func notice(dir string, limit time.Duration) (by string, took time.Duration) {
	usvs := filepath.Join(dir, "usvs")
	begin := time.Now()
	for _, check := range []struct {
		name string
		args []string
	}{
		{"fuzz", []string{"sim", "fuzz", "--seed", "1", "--seeds", "150", "--quiet", "--shrink", "0", "--out", filepath.Join(dir, "case.txt")}},
		{"scenarios", []string{"sim", "--quiet", "scenarios"}},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), limit-time.Since(begin))
		err := exec.CommandContext(ctx, usvs, check.args...).Run()
		late := ctx.Err() != nil
		cancel()
		var exit *exec.ExitError
		if errors.As(err, &exit) && !late {
			return check.name, time.Since(begin)
		}
	}
	return "", time.Since(begin)
}
