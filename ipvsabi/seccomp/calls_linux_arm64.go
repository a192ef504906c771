package seccomp

import "golang.org/x/sys/unix"

const (
	nativeArch   = unix.AUDIT_ARCH_AARCH64
	foreignCalls = 0 // none: 32-bit programs have an architecture of their own
)

// oldFileCalls: arm64 has only those that take a directory too.
var oldFileCalls []call
