package seccomp

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrNested says that the calls of this process are supervised already, by
// another `usvs exec` or, if there is none, by somebody else.
var ErrNested = errors.New("the system calls of this process are supervised already, by a container manager perhaps (seccomp user notification): there can only be one")

// Config says how to wrap a program.
type Config struct {
	// Connect returns the director of a network namespace. It is not asked
	// anything before a program asks for IPVS. Connect itself must not enter.
	Connect func(Enter) Director
	// Say is told, once each, what the user should know. May be called by any
	// goroutine.
	Say func(message string)
	// Files has files that the kernel's IPVS would have below /proc found too.
	Files bool
	// Companion is a process beside the wrapped ones, whose end is told. It may
	// be nil.
	Companion *Companion
}

// Guest is a wrapped program and everything that it starts.
type Guest struct {
	Config
	listener   listener
	namespaces *namespaces
	outbox     outbox
	settings   settings
	release    chan struct{} // closed when the thread with the filter may end

	placing sync.Mutex // held while a number of the window is found and taken

	mu     sync.Mutex
	pid    int                // of the program itself, 0 when it was waited for; guarded by mu
	status syscall.WaitStatus // then; guarded by mu
	said   map[string]bool    // guarded by mu
	others map[int]bool       // children that are not wrapped; guarded by mu
}

// maxCalls is how many calls are served at once. A slow director holds as many
// as threads ask it; further ones wait.
const maxCalls = 512

// Start runs the program at path under a filter. Its standard files are those
// of this process, whose signals are passed on to it. It gets SIGTERM when this
// process dies.
func Start(cfg Config, path string, argv, env []string) (*Guest, error) {
	if err := checkKernel(); err != nil {
		return nil, err
	}
	spaces, err := newNamespaces(cfg.Connect)
	if err != nil {
		return nil, err
	}
	g := &Guest{
		Config: cfg, namespaces: spaces, outbox: outbox{waiting: map[uint64]*queue{}},
		release: make(chan struct{}), said: map[string]bool{}, others: strangers(),
	}
	g.settings = settings{say: func(format string, args ...any) { g.say(fmt.Sprintf(format, args...)) }, open: map[uint64]*openSetting{}}
	caught := catchSignals() // before there is a program that could be signalled
	started := make(chan error)
	onThread(func() {
		err := g.start(path, argv, env)
		started <- err
		if err == nil {
			<-g.release // the program's death signal comes when this thread ends
		}
	})
	if err := <-started; err != nil {
		signal.Stop(caught)
		return nil, err
	}
	go g.passOn(caught)
	return g, nil
}

// start gives the calling thread the filter and starts the program from it.
func (g *Guest) start(path string, argv, env []string) error {
	calls := socketCalls
	if g.Files {
		calls = append(slices.Clone(calls), fileCalls...)
	}
	fd, err := installFilter(calls)
	if err != nil {
		return err
	}
	g.listener = listener(fd)
	// Programs that become daemons stay our descendants: we learn when the
	// last one ends, and may read their memory where only ancestors may.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become a subreaper: %w", err)
	}
	go g.serve(calls)
	pid, err := syscall.ForkExec(path, argv, &syscall.ProcAttr{
		Env: env, Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM},
	})
	if err != nil {
		return &os.PathError{Op: "exec", Path: path, Err: err}
	}
	g.pid = pid
	return nil
}

// checkKernel says what is missing before anything is done.
func checkKernel() error {
	sizes, errno := notificationSizes()
	switch {
	case nativeArch == 0:
		return errors.New("usvs exec knows the system calls of x86-64 and arm64 only")
	case errno != 0:
		return fmt.Errorf("this kernel has no seccomp user notification (%w): usvs exec needs Linux 5.19 with CONFIG_SECCOMP_FILTER", errno)
	case sizes != kernelSizes:
		return fmt.Errorf("this kernel's seccomp notifications have another size: %v", sizes)
	}
	self, err := os.Readlink("/proc/self")
	if err != nil || self != strconv.Itoa(os.Getpid()) {
		return errors.New("/proc does not show this process: usvs exec needs the proc file system of its own PID namespace (mount -t proc proc /proc)")
	}
	return nil
}

// installFilter gives the calling thread the filter. Without privileges it has
// to give up gaining some by exec first.
func installFilter(calls []call) (int, error) {
	code, err := program(nativeArch, foreignCalls, calls)
	if err != nil {
		return -1, err
	}
	const flags = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
	fd, errno := install(code, flags)
	if errno == unix.EACCES {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return -1, fmt.Errorf("no_new_privs: %w", err)
		}
		fd, errno = install(code, flags)
	}
	switch errno {
	case 0:
		return fd, nil
	case unix.EBUSY:
		return -1, ErrNested
	case unix.EINVAL:
		return -1, errors.New("this kernel's seccomp user notification is too old: usvs exec needs Linux 5.19 or newer")
	case unix.ENOSYS, unix.EPERM:
		return -1, fmt.Errorf("seccomp filters are forbidden here (%w): a container may need another seccomp profile", errno)
	}
	return -1, fmt.Errorf("install seccomp filter: %w", errno)
}

// serve answers calls until nobody is left who could make one.
func (g *Guest) serve(calls []call) {
	slots := make(chan struct{}, maxCalls)
	handlers := map[int]call{}
	for _, c := range calls {
		handlers[c.nr] = c
	}
	var serving sync.WaitGroup
	for n, ok := g.listener.wait(); ok; n, ok = g.listener.wait() {
		c, call := g.newCaller(n), handlers[n.nr]
		if call.path > 0 && !c.isOurs(call.path-1) {
			g.listener.answer(n.id, proceed)
			continue
		}
		slots <- struct{}{}
		serving.Go(func() {
			defer func() { <-slots }()
			defer c.close()
			g.listener.answer(n.id, call.serve(c))
		})
	}
	serving.Wait()
	unix.Close(int(g.listener))
}

// complain tells the user something once.
func (g *Guest) complain(key, format string, args ...any) {
	if g.once(key) {
		g.say(fmt.Sprintf(format, args...))
	}
}

func (g *Guest) say(message string) { g.Config.Say(message) }

// once reports whether a key is new.
func (g *Guest) once(key string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.said[key] || len(g.said) > maxSaid {
		return false
	}
	g.said[key] = true
	return true
}

// maxSaid bounds what is remembered of a program that visits many namespaces.
const maxSaid = 1000
