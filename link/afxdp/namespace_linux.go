package afxdp

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// namespace is the network namespace a device was opened in. Interface indexes
// mean something in it only.
type namespace struct{ file *os.File }

func currentNamespace() (namespace, error) {
	f, err := os.Open("/proc/thread-self/ns/net")
	return namespace{f}, err
}

func (n namespace) close() {
	if n.file != nil {
		n.file.Close()
	}
}

// do calls f on a thread that is in the namespace: the caller's, unless that is
// in another one.
func (n namespace) do(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	here, err := currentNamespace()
	if err != nil {
		return err
	}
	defer here.close()
	if same(n.file, here.file) {
		return f()
	}
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			result <- fmt.Errorf("enter the interface's network namespace: %w", err)
			return
		}
		result <- f()
	}()
	return <-result
}

func same(a, b *os.File) bool {
	var sa, sb unix.Stat_t
	return unix.Fstat(int(a.Fd()), &sa) == nil && unix.Fstat(int(b.Fd()), &sb) == nil && sa.Dev == sb.Dev && sa.Ino == sb.Ino
}
