package seccomp

import (
	"bytes"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"usvs/ipvs"
	"usvs/procnet"
)

// target is a file that the kernel's IPVS would have below /proc.
type target struct {
	kind targetKind
	name string // of the file in its directory
	pid  int    // whose network namespace it tells of, 0: the caller's
}

type targetKind uint8

const (
	procFile    targetKind = iota // of /proc/net
	setting                       // of /proc/sys/net/ipv4/vs
	settingsDir                   // that directory
)

const settingsPath = "/proc/sys/net/ipv4/vs"

// maxPath is longer than the path of any file of ours.
const maxPath = 256

// pathAt reads the path at addr, unless it is too long to be one of ours.
func (c *caller) pathAt(addr uint64) (string, bool) {
	var buf [maxPath]byte
	n := c.readSome(addr, buf[:])
	end := bytes.IndexByte(buf[:n], 0)
	if end < 0 || !mayBeOurs(buf[:end]) {
		return "", false
	}
	return string(buf[:end]), true
}

// mayBeOurs sorts out practically all paths that are none of ours.
func mayBeOurs(p []byte) bool {
	if bytes.HasPrefix(p, []byte("/")) {
		return bytes.HasPrefix(p, []byte("/proc/"))
	}
	base := string(p[bytes.LastIndexByte(p, '/')+1:])
	return slices.Contains(procnet.Names(), base) || slices.Contains(ipvs.SysctlKeys(), base)
}

// targetOf finds the file of ours that a path leads to. Links are not followed
// but those of /proc itself.
func targetOf(absolute string) (target, bool) {
	p := path.Clean(absolute)
	if p == settingsPath {
		return target{kind: settingsDir}, true
	}
	dir, name := path.Split(p)
	if dir == settingsPath+"/" {
		return target{kind: setting, name: name}, slices.Contains(ipvs.SysctlKeys(), name)
	}
	if !slices.Contains(procnet.Names(), name) {
		return target{}, false
	}
	pid, ok := whoseNet(strings.TrimPrefix(dir, "/proc/"))
	return target{procFile, name, pid}, ok && strings.HasPrefix(dir, "/proc/")
}

// whoseNet tells for a directory below /proc whose network namespace it shows.
func whoseNet(dir string) (pid int, ok bool) {
	f := strings.Split(strings.TrimSuffix(dir, "/"), "/")
	switch {
	case len(f) == 1 && f[0] == "net":
		return 0, true
	case len(f) == 2 && f[1] == "net":
		return process(f[0])
	case len(f) == 4 && f[1] == "task" && f[3] == "net":
		return process(f[2])
	}
	return 0, false
}

func process(name string) (pid int, ok bool) {
	if name == "self" || name == "thread-self" {
		return 0, true
	}
	pid, err := strconv.Atoi(name)
	return pid, err == nil && pid > 0
}

// isOurs reports whether the path in an argument leads to a file of ours.
func (c *caller) isOurs(arg int) (ok bool) {
	c.file, ok = c.targetAt(c.args[arg])
	return ok
}

// targetAt finds the file of ours that a path of the caller leads to, from its
// working directory if it is relative.
func (c *caller) targetAt(addr uint64) (target, bool) {
	p, ok := c.pathAt(addr)
	if !ok {
		return target{}, false
	}
	if !path.IsAbs(p) {
		dir, err := os.Readlink(c.proc("cwd"))
		if err != nil {
			return target{}, false
		}
		p = dir + "/" + p
	}
	return targetOf(p)
}
