package seccomp

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// syscallData is a struct seccomp_data as the interpreter wants it: the kernel
// loads its words in host order, the interpreter in network order, so that each
// word is stored in the latter and the low word of an argument comes first.
func syscallData(arch uint32, nr int, args ...uint64) []byte {
	b := make([]byte, 64)
	binary.BigEndian.PutUint32(b[0:], uint32(nr))
	binary.BigEndian.PutUint32(b[4:], arch)
	for i, a := range args {
		binary.BigEndian.PutUint32(b[16+8*i:], uint32(a))
		binary.BigEndian.PutUint32(b[20+8*i:], uint32(a>>32))
	}
	return b
}

func machine(t *testing.T, arch, foreign uint32, calls []call) *bpf.VM {
	t.Helper()
	raw, err := program(arch, foreign, calls)
	require.NoError(t, err)
	assert.LessOrEqual(t, len(raw), 4096, "BPF_MAXINSNS")
	code, all := bpf.Disassemble(raw)
	require.True(t, all)
	vm, err := bpf.NewVM(code)
	require.NoError(t, err)
	return vm
}

func TestFilter(t *testing.T) {
	const garbage = 0xdead << 32 // an int argument's upper half means nothing
	at := func(fd int) uint64 { return uint64(uint32(fd)) }
	cases := []struct {
		name   string
		nr     int
		args   []uint64
		notify bool
		file   bool // only if files are served
	}{
		{"genl socket", unix.SYS_SOCKET, []uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_GENERIC}, true, false},
		{"genl socket with flags", unix.SYS_SOCKET, []uint64{unix.AF_NETLINK | garbage, unix.SOCK_DGRAM | unix.SOCK_CLOEXEC, unix.NETLINK_GENERIC | garbage}, true, false},
		{"route socket", unix.SYS_SOCKET, []uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE}, false, false},
		{"raw socket of protocol 16", unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_RAW, unix.NETLINK_GENERIC}, false, false},
		{"send below the window", unix.SYS_SENDTO, []uint64{firstSocket - 1}, false, false},
		{"send first", unix.SYS_SENDTO, []uint64{firstSocket}, true, false},
		{"send last", unix.SYS_SENDMSG, []uint64{lastSocket}, true, false},
		{"send above", unix.SYS_SENDMMSG, []uint64{lastSocket + 1}, false, false},
		{"send on -1", unix.SYS_SENDMSG, []uint64{at(-1)}, false, false},
		{"receive", unix.SYS_RECVMSG, []uint64{firstSocket | garbage}, true, false},
		{"receive on a setting", unix.SYS_RECVMSG, []uint64{firstSetting}, false, false},
		{"read elsewhere", unix.SYS_READ, []uint64{3}, false, false},
		{"read", unix.SYS_READ, []uint64{firstSocket}, true, false},
		{"write to a setting", unix.SYS_WRITE, []uint64{firstSetting}, true, false},
		{"write to standard output", unix.SYS_WRITE, []uint64{1}, false, false},
		{"writev", unix.SYS_WRITEV, []uint64{lastSocket}, true, false},
		{"dup", unix.SYS_DUP, []uint64{firstSocket}, true, false},
		{"dup elsewhere", unix.SYS_DUP, []uint64{5}, false, false},
		{"fcntl", unix.SYS_FCNTL, []uint64{firstSetting, unix.F_DUPFD}, true, false},
		{"option, first", unix.SYS_GETSOCKOPT, []uint64{3, unix.IPPROTO_IP, firstOption}, true, false},
		{"option, last", unix.SYS_SETSOCKOPT, []uint64{3, unix.IPPROTO_IP, lastOption}, true, false},
		{"option of another level", unix.SYS_GETSOCKOPT, []uint64{3, unix.SOL_SOCKET, firstOption}, false, false},
		{"another option", unix.SYS_SETSOCKOPT, []uint64{3, unix.IPPROTO_IP, lastOption + 1}, false, false},
		{"open", unix.SYS_OPENAT, []uint64{at(unix.AT_FDCWD)}, true, true},
		{"open, sign-extended", unix.SYS_OPENAT, []uint64{^uint64(99)}, true, true},
		{"open in a directory", unix.SYS_OPENAT, []uint64{3}, false, true},
		{"stat", unix.SYS_NEWFSTATAT, []uint64{at(unix.AT_FDCWD)}, true, true},
		{"fstat", unix.SYS_NEWFSTATAT, []uint64{3}, false, true},
		{"xattr", unix.SYS_LGETXATTR, []uint64{1234}, true, true},
		{"close", unix.SYS_CLOSE, []uint64{firstSocket}, false, false},
		{"execve", unix.SYS_EXECVE, nil, false, false},
		{"clone", unix.SYS_CLONE, nil, false, false},
	}
	all := append(append([]call(nil), socketCalls...), fileCalls...)
	for _, m := range []struct {
		name          string
		arch, foreign uint32
	}{{"amd64", unix.AUDIT_ARCH_X86_64, 0x40000000}, {"arm64", unix.AUDIT_ARCH_AARCH64, 0}} {
		plain, files := machine(t, m.arch, m.foreign, socketCalls), machine(t, m.arch, m.foreign, all)
		run := func(vm *bpf.VM, arch uint32, nr int, args []uint64) bool {
			v, err := vm.Run(syscallData(arch, nr, args...))
			require.NoError(t, err)
			require.Contains(t, []int{unix.SECCOMP_RET_ALLOW, unix.SECCOMP_RET_USER_NOTIF}, v)
			return v == unix.SECCOMP_RET_USER_NOTIF
		}
		for _, tc := range cases {
			t.Run(m.name+" "+tc.name, func(t *testing.T) {
				assert.Equal(t, tc.notify, run(files, m.arch, tc.nr, tc.args))
				assert.Equal(t, tc.notify && !tc.file, run(plain, m.arch, tc.nr, tc.args), "without files")
				assert.False(t, run(files, unix.AUDIT_ARCH_I386, tc.nr, tc.args), "of another architecture")
				if m.foreign != 0 {
					assert.False(t, run(files, m.arch, tc.nr|int(m.foreign), tc.args), "x32")
				}
			})
		}
	}
}

// Every call that is handed to us is served, and once.
func TestCallsAreServed(t *testing.T) {
	seen := map[int]bool{}
	for _, c := range append(append([]call(nil), socketCalls...), fileCalls...) {
		assert.NotNil(t, c.serve, c.nr)
		assert.False(t, seen[c.nr], "system call %d twice", c.nr)
		seen[c.nr] = true
	}
}
