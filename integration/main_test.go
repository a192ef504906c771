package integration

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
)

// binaryEnv tells the processes of the labs where the program is.
const binaryEnv = "USVS_INTEGRATION_BINARY"

// programEnv makes the test binary one of the tests' own programs.
const programEnv = "USVS_INTEGRATION_PROGRAM"

func TestMain(m *testing.M) {
	if name := os.Getenv(programEnv); name != "" {
		os.Unsetenv(programEnv)
		os.Exit(testProgram(name))
	}
	os.Exit(buildAndRun(m))
}

// buildAndRun builds the program, unless this is a lab's process.
func buildAndRun(m *testing.M) int {
	if os.Getenv(binaryEnv) != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "usvs-integration")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	// Some tests run the program as another user.
	if err := os.Chmod(dir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	program := filepath.Join(dir, "usvs")
	args := append([]string{"build"}, buildFlags...)
	build := exec.Command("go", append(args, "-o", program, "usvs/cmd/usvs")...)
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "go build usvs/cmd/usvs:", err)
		return 1
	}
	os.Setenv(binaryEnv, program)
	runMoreAtOnce()
	return m.Run()
}

// runMoreAtOnce lets twice as many parallel tests run as there are processors:
// they mostly wait.
func runMoreAtOnce() {
	flag.Parse()
	asked := false
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "test.parallel" })
	if !asked && !raceEnabled {
		_ = flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0)))
	}
}

// program is the path of the usvs under test.
func program() string { return os.Getenv(binaryEnv) }
