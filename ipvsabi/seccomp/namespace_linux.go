package seccomp

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// idle is how long a namespace that nobody calls from is remembered. Longer
// would keep a deleted one alive.
const idle = 500 * time.Millisecond

// namespaceID names a namespace.
type namespaceID struct{ dev, ino uint64 }

func identify(fd int) (namespaceID, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return namespaceID{}, err
	}
	return namespaceID{st.Dev, st.Ino}, nil
}

// namespaces are the network namespaces that calls came from lately, each with
// the director that answers there.
type namespaces struct {
	connect func(enter Enter) Director
	home    namespaceID

	mu   sync.Mutex
	open map[namespaceID]*namespace // guarded by mu
}

// namespace is a network namespace and the director in it.
type namespace struct {
	id       namespaceID
	fd       int
	director Director

	users int         // guarded by namespaces.mu
	timer *time.Timer // likewise; runs while users is 0
}

func newNamespaces(connect func(Enter) Director) (*namespaces, error) {
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: "/proc/thread-self/ns/net", Err: err}
	}
	defer unix.Close(fd)
	home, err := identify(fd)
	return &namespaces{connect: connect, home: home, open: map[namespaceID]*namespace{}}, err
}

// use takes over fd, a descriptor of a namespace. Every use ends with done.
func (l *namespaces) use(fd int) (*namespace, error) {
	id, err := identify(fd)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if ns := l.open[id]; ns != nil {
		unix.Close(fd)
		ns.users++
		ns.timer.Stop()
		return ns, nil
	}
	ns := &namespace{id: id, fd: fd, users: 1}
	ns.timer = time.AfterFunc(time.Hour, func() { l.forget(ns) })
	ns.timer.Stop() // until done
	ns.director = l.connect(func(f func() error) error { return l.enter(ns, f) })
	l.open[id] = ns
	return ns, nil
}

func (l *namespaces) done(ns *namespace) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ns.users--; ns.users == 0 {
		ns.timer.Reset(idle)
	}
}

// forget closes a namespace that is not used.
func (l *namespaces) forget(ns *namespace) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ns.users > 0 || l.open[ns.id] != ns {
		return
	}
	delete(l.open, ns.id)
	ns.director.Close()
	unix.Close(ns.fd)
}

// hold uses ns once more, unless it was forgotten.
func (l *namespaces) hold(ns *namespace) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[ns.id] != ns {
		return false
	}
	ns.users++
	ns.timer.Stop()
	return true
}

// enter calls f on a thread that is in the namespace.
func (l *namespaces) enter(ns *namespace, f func() error) error {
	if !l.hold(ns) {
		return os.ErrClosed // somebody dials for a call that was given up
	}
	defer l.done(ns)
	if ns.id == l.home {
		return f()
	}
	result := make(chan error, 1)
	onThread(func() {
		if err := unix.Setns(ns.fd, unix.CLONE_NEWNET); err != nil {
			result <- fmt.Errorf("enter network namespace %d: %w", ns.id.ino, err)
			return
		}
		result <- f()
	})
	return <-result
}

// onThread calls f on a thread of its own, which ends with it. That thread is
// never the process's first, which does not end, and whose namespaces others
// take for the process's.
func onThread(f func()) {
	go func() {
		runtime.LockOSThread() // never unlocked
		if unix.Gettid() != unix.Getpid() {
			f()
			return
		}
		onThread(f)
		<-make(chan struct{}) // happens once: from now on the first thread is taken
	}()
}
