package netlab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// insideEnv marks the process that Enter starts.
const insideEnv = "USVS_NETLAB"

// Enter starts the program again, with the same arguments, files and directory,
// in namespaces of its own, and returns its exit status when it has ended. In
// the process that is started, Enter isolates it and returns inside == true at
// once. It ends, however it does, when its parent ends.
func Enter() (status int, inside bool, err error) {
	if os.Getenv(insideEnv) != "" && os.Getpid() == 1 {
		os.Unsetenv(insideEnv)
		Isolate()
		return 0, true, nil
	}
	// The death signal comes when the starting thread ends: keep the thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd, err := startInside()
	if err != nil {
		return 0, false, fmt.Errorf("the kernel does not permit new namespaces: %w. %s", err, Advice)
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 0, false, err
	}
	if exit != nil && !exit.Exited() {
		return 0, false, fmt.Errorf("the process in the namespaces was ended: %w", err)
	}
	return cmd.ProcessState.ExitCode(), false, nil
}

// startInside starts the process. Root needs no user namespace, unless it is a
// root without CAP_SYS_ADMIN, as in a container.
func startInside() (cmd *exec.Cmd, err error) {
	for _, user := range []bool{false, true} {
		if !user && os.Geteuid() != 0 {
			continue
		}
		cmd = exec.Command("/proc/self/exe", os.Args[1:]...)
		cmd.Args[0] = os.Args[0]
		cmd.Env = append(os.Environ(), insideEnv+"=1")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		cmd.SysProcAttr = Attributes(user)
		cmd.SysProcAttr.Pdeathsig = unix.SIGKILL
		if err = cmd.Start(); err == nil {
			return cmd, nil
		}
	}
	return nil, err
}

// Attributes ask for a process in namespaces of its own, among them a user
// namespace in which it is root if user is set.
func Attributes(user bool) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID}
	if user {
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return attr
}

// Isolate gives the process its own views of what the kernel and programs keep
// in the file system. Each may be refused, in a container for instance; then
// the old view stays, which mostly does. Only the first process of its own
// namespaces may call it: it would change what others see.
func Isolate() {
	_ = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	_ = unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	_ = unix.Mount("sysfs", "/sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	_ = unix.Mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755")
}

// EndProcesses ends all processes that are in the namespace, this one excepted,
// among them those that left their parents. It does nothing where /proc shows
// other numbers than our own.
func (ns *Namespace) EndProcesses() {
	self, err := os.Readlink("/proc/self")
	if err != nil || self != strconv.Itoa(os.Getpid()) {
		return
	}
	var mine, other unix.Stat_t
	if unix.Fstat(ns.FD(), &mine) != nil {
		return
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		if unix.Stat("/proc/"+e.Name()+"/ns/net", &other) == nil && other.Ino == mine.Ino && other.Dev == mine.Dev {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
}
