package seccomp

import (
	"fmt"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// The window: descriptor numbers that a wrapped program gets for its generic
// netlink sockets and for settings that it writes to. The filter cannot see what
// a descriptor is, only its number, so it lets no call through that sends or
// receives on one of these. They lie below 1024, the usual limit of open files
// and the most that select(2) can name.
const (
	firstSetting = 944
	lastSetting  = 959
	firstSocket  = 960
	lastSocket   = 1007
)

// window is a range of descriptor numbers.
type window struct{ first, last int }

var (
	socketWindow   = window{firstSocket, lastSocket}
	settingsWindow = window{firstSetting, lastSetting}
)

func (w window) has(fd int) bool { return fd >= w.first && fd <= w.last }

// Offsets in struct seccomp_data. An int argument is the low half of its 64 bits;
// amd64 and arm64 are both little-endian.
const (
	offsetNr   = 0
	offsetArch = 4
	offsetArgs = 16
)

// verdicts of the filter.
var (
	allow  = bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}
	notify = bpf.RetConstant{Val: unix.SECCOMP_RET_USER_NOTIF}
)

// test compares an int argument with a range, both ends included.
type test struct {
	arg      int
	min, max uint32
}

// program is the filter that hands us calls on a machine of architecture arch. Those
// of another architecture, 32-bit programs on a 64-bit kernel for example, are
// none of ours: their numbers and layouts are others, and the kernel answers.
func program(arch uint32, foreign uint32, calls []call) ([]bpf.RawInstruction, error) {
	code := []bpf.Instruction{
		bpf.LoadAbsolute{Off: offsetArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: arch, SkipTrue: 1},
		allow,
		bpf.LoadAbsolute{Off: offsetNr, Size: 4},
	}
	if foreign != 0 {
		code = append(code, bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: foreign, SkipFalse: 1}, allow)
	}
	for _, c := range calls {
		body := c.body()
		code = append(code, bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(c.nr), SkipFalse: uint8(len(body))})
		code = append(code, body...)
	}
	raw, err := bpf.Assemble(append(code, allow))
	if err != nil {
		return nil, fmt.Errorf("seccomp filter: %w", err)
	}
	return raw, nil
}

// body decides about a call whose number is known. It always ends with a verdict.
func (c *call) body() []bpf.Instruction {
	var code []bpf.Instruction
	for _, t := range c.tests {
		code = append(code,
			bpf.LoadAbsolute{Off: offsetArgs + 8*uint32(t.arg), Size: 4},
			bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: t.min, SkipTrue: 1},
			allow,
			bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: t.max, SkipFalse: 1},
			allow)
	}
	return append(code, notify)
}
