//go:build linux && !amd64 && !arm64

package seccomp

// nativeArch is 0 on machines whose system calls this package does not know.
const (
	nativeArch   = 0
	foreignCalls = 0
)

var oldFileCalls []call
