package seccomp

import (
	"golang.org/x/sys/unix"

	"usvs/ipvsabi"
)

// call is a system call that is handed to us, and who serves it.
type call struct {
	nr    int
	tests []test // of the filter: all must hold
	serve func(*caller) outcome
	path  int // 1 + the argument that is a path, 0 if none is: only paths of ours are served
}

// IPVS's socket options.
const (
	firstOption = ipvsabi.FirstOption
	lastOption  = ipvsabi.LastOption
)

// socketCalls are those by which a program talks to the kernel's IPVS.
var socketCalls = []call{
	{nr: unix.SYS_SOCKET, tests: []test{is(0, unix.AF_NETLINK), is(2, unix.NETLINK_GENERIC)}, serve: (*caller).socket},

	{nr: unix.SYS_SENDTO, tests: onSocket, serve: (*caller).sendto},
	{nr: unix.SYS_SENDMSG, tests: onSocket, serve: (*caller).sendmsg},
	{nr: unix.SYS_SENDMMSG, tests: onSocket, serve: (*caller).sendmmsg},
	{nr: unix.SYS_WRITE, tests: onWindow, serve: (*caller).write1},
	{nr: unix.SYS_WRITEV, tests: onWindow, serve: (*caller).writev},

	{nr: unix.SYS_RECVFROM, tests: onSocket, serve: (*caller).recvfrom},
	{nr: unix.SYS_RECVMSG, tests: onSocket, serve: (*caller).recvmsg},
	{nr: unix.SYS_RECVMMSG, tests: onSocket, serve: (*caller).recvmmsg},
	{nr: unix.SYS_READ, tests: onSocket, serve: (*caller).read1},
	{nr: unix.SYS_READV, tests: onSocket, serve: (*caller).read1},

	{nr: unix.SYS_DUP, tests: onWindow, serve: (*caller).dup},
	{nr: unix.SYS_FCNTL, tests: onWindow, serve: (*caller).fcntl},

	{nr: unix.SYS_GETSOCKOPT, tests: onOption, serve: (*caller).getOption},
	{nr: unix.SYS_SETSOCKOPT, tests: onOption, serve: (*caller).setOption},
}

var (
	onSocket = []test{{0, firstSocket, lastSocket}}
	onWindow = []test{{0, firstSetting, lastSocket}}
	onOption = []test{is(1, unix.IPPROTO_IP), {2, firstOption, lastOption}}
)

func is(arg int, value uint32) test { return test{arg, value, value} }

// The filter cannot read a path. It hands us those that start at the root or at
// the working directory, which is what fopen, os.Open and shells ask for; calls
// relative to a directory's descriptor, as by find and du, go undelayed.
var (
	fromCWD  = []test{is(0, atCWD)}
	anywhere []test
)

const atCWD = 1<<32 + unix.AT_FDCWD // an int argument of the filter

// fileCalls are those by which a program finds and opens files.
var fileCalls = append([]call{
	{unix.SYS_OPENAT, fromCWD, (*caller).openat, 2},
	{unix.SYS_OPENAT2, fromCWD, (*caller).openat2, 2},
	{unix.SYS_NEWFSTATAT, fromCWD, (*caller).fstatat, 2},
	{unix.SYS_STATX, fromCWD, (*caller).statx, 2},
	{unix.SYS_FACCESSAT, fromCWD, (*caller).accessat, 2},
	{unix.SYS_FACCESSAT2, fromCWD, (*caller).accessat, 2},
	{unix.SYS_READLINKAT, fromCWD, (*caller).readlink, 2},
	{unix.SYS_GETXATTR, anywhere, (*caller).xattr, 1},
	{unix.SYS_LGETXATTR, anywhere, (*caller).xattr, 1},
	{unix.SYS_LISTXATTR, anywhere, (*caller).xattr, 1},
	{unix.SYS_LLISTXATTR, anywhere, (*caller).xattr, 1},
}, oldFileCalls...)
