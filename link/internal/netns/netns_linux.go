package netns

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Namespace is the network namespace a device was opened in. Interface indexes
// mean something in it only.
type Namespace struct{ file *os.File }

// Current is the calling thread's namespace.
func Current() (Namespace, error) {
	f, err := os.Open("/proc/thread-self/ns/net")
	return Namespace{f}, err
}

// Close lets go of it.
func (n Namespace) Close() {
	if n.file != nil {
		n.file.Close()
	}
}

// Do calls f on a thread that is in the namespace: the caller's, unless that is
// in another one.
func (n Namespace) Do(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	here, err := Current()
	if err != nil {
		return err
	}
	defer here.Close()
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
