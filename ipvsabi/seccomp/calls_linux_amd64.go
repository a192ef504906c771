package seccomp

import "golang.org/x/sys/unix"

const (
	nativeArch = unix.AUDIT_ARCH_X86_64
	// foreignCalls is where the numbers of x32 programs begin, which have the
	// architecture of all others.
	foreignCalls = 0x40000000
)

// oldFileCalls are those that arm64 never had.
var oldFileCalls = []call{
	{unix.SYS_OPEN, anywhere, (*caller).open, 1},
	{unix.SYS_STAT, anywhere, (*caller).stat, 1},
	{unix.SYS_LSTAT, anywhere, (*caller).stat, 1},
	{unix.SYS_READLINK, anywhere, (*caller).readlink, 1},
	{unix.SYS_ACCESS, anywhere, (*caller).access, 1},
}
