package host

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"usvs/link/netnstest"
)

// helperEnv makes the test binary play a part of a test, see TestMain.
const helperEnv = "USVS_HOST_HELPER"

func helper(part string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), helperEnv+"="+part)
	return cmd
}

// helperWithoutCapabilities runs a part as a user without any.
func helperWithoutCapabilities(lab *netnstest.Lab, part string) (string, error) {
	cmd := helper(part)
	cmd.Env = append(cmd.Env, helperEnv+"_DROP=1")
	p := lab.Home.StartCmd(cmd)
	err := p.Wait()
	return p.Output(), err
}

var helpers = map[string]func() error{
	"capabilities": CheckCapabilities,
	"guarded":      helpGuarded,
	"handoff":      helpHandoff,
	"receiver":     helpReceiver,
	"suppress":     helpSuppress,
}

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == GuardCommand {
		if err := RunGuard(); err != nil {
			fmt.Println(err)
		}
		return
	}
	part := os.Getenv(helperEnv)
	if part == "" {
		os.Exit(m.Run())
	}
	if os.Getenv(helperEnv+"_DROP") != "" {
		if err := dropCapabilities(); err != nil {
			fmt.Println(err)
			os.Exit(2)
		}
	}
	if err := helpers[part](); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// dropCapabilities empties the thread's effective set, and stays on the thread.
func dropCapabilities() error {
	runtime.LockOSThread()
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	return unix.Capset(&hdr, &none[0])
}
