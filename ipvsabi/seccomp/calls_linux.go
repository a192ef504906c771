package seccomp

import "golang.org/x/sys/unix"

// call is a system call that is handed to us, and who serves it.
type call struct {
	nr    int
	tests []test // of the filter: all must hold
	serve func(*caller) outcome
}

// IPVS's socket options.
const (
	firstOption = 1152
	lastOption  = 1167
)

// socketCalls are those by which a program talks to the kernel's IPVS.
var socketCalls = []call{
	{unix.SYS_SOCKET, []test{is(0, unix.AF_NETLINK), is(2, unix.NETLINK_GENERIC)}, (*caller).socket},

	{unix.SYS_SENDTO, onWindow(0), (*caller).sendto},
	{unix.SYS_SENDMSG, onWindow(0), (*caller).sendmsg},
	{unix.SYS_SENDMMSG, onWindow(0), (*caller).sendmmsg},
	{unix.SYS_WRITE, onWindow(0), (*caller).write1},
	{unix.SYS_WRITEV, onWindow(0), (*caller).writev},

	{unix.SYS_RECVFROM, onWindow(0), (*caller).recvfrom},
	{unix.SYS_RECVMSG, onWindow(0), (*caller).recvmsg},
	{unix.SYS_RECVMMSG, onWindow(0), (*caller).recvmmsg},
	{unix.SYS_READ, onWindow(0), (*caller).read1},
	{unix.SYS_READV, onWindow(0), (*caller).read1},

	{unix.SYS_DUP, onWindow(0), (*caller).dup},
	{unix.SYS_FCNTL, onWindow(0), (*caller).fcntl},

	{unix.SYS_GETSOCKOPT, onOption, (*caller).getOption},
	{unix.SYS_SETSOCKOPT, onOption, (*caller).setOption},
}

var onOption = []test{is(1, unix.IPPROTO_IP), {2, firstOption, lastOption}}

func is(arg int, value uint32) test { return test{arg, value, value} }

func onWindow(arg int) []test { return []test{{arg, windowFirst, windowLast}} }
