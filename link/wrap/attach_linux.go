package wrap

import (
	"fmt"
	"io"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Attach puts the program for a sending socket on the egress hook of the
// interface that has that index in the calling thread's network namespace. It stays until it is closed or the
// interface goes, and no longer than this process.
func Attach(index, socket int) (io.Closer, error) {
	cookie, err := unix.GetsockoptUint64(socket, unix.SOL_SOCKET, unix.SO_COOKIE)
	if err != nil {
		return nil, fmt.Errorf("wrap: the socket's cookie: %w", err)
	}
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "usvs_wrap", Type: ebpf.SchedCLS, Instructions: instructions(cookie), License: "Apache-2.0",
	})
	if err != nil {
		return nil, fmt.Errorf("wrap: program: %w", err)
	}
	defer prog.Close() // the attachment keeps it
	at, err := link.AttachTCX(link.TCXOptions{Interface: index, Program: prog, Attach: ebpf.AttachTCXEgress})
	if err != nil {
		return nil, fmt.Errorf("wrap: attach the program: %w", err)
	}
	return at, nil
}
