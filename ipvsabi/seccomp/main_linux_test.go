package seccomp

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

const (
	// binaryEnv tells the processes of the labs where usvs is.
	binaryEnv = "USVS_SECCOMP_BINARY"
	// programEnv makes the test binary one of the programs that the tests wrap.
	programEnv = "USVS_SECCOMP_PROGRAM"
)

func TestMain(m *testing.M) {
	if name := os.Getenv(programEnv); name != "" {
		programs[name](os.Args[1:])
		os.Exit(0)
	}
	os.Exit(buildAndRun(m))
}

// buildAndRun builds usvs, unless this is a lab's process.
func buildAndRun(m *testing.M) int {
	if os.Getenv(binaryEnv) != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "usvs-seccomp")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	_ = os.Chmod(dir, 0o755) // some tests run it as another user
	program := filepath.Join(dir, "usvs")
	build := exec.Command("go", "build", "-o", program, "usvs/cmd/usvs")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "go build usvs/cmd/usvs:", err)
		return 1
	}
	os.Setenv(binaryEnv, program)
	return m.Run()
}

// check ends a program that is wrapped.
func check(good bool, what string, args ...any) {
	if !good {
		fmt.Printf("%s: %s\n", os.Getenv(programEnv), fmt.Sprintf(what, args...))
		os.Exit(1)
	}
}

func checkErr(err error, what string) { check(err == nil, "%s: %v", what, err) }
