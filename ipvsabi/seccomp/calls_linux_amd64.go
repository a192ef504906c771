package seccomp

import "golang.org/x/sys/unix"

const (
	nativeArch = unix.AUDIT_ARCH_X86_64
	// foreignCalls is where the numbers of x32 programs begin, which have the
	// architecture of all others.
	foreignCalls = 0x40000000
)
