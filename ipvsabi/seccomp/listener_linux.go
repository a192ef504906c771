package seccomp

import "golang.org/x/sys/unix"

// listener is the descriptor that a filter's notifications come from.
type listener int

// notification is a system call that waits for an answer.
type notification struct {
	id   uint64
	tid  int // of the calling thread, as this process sees it
	nr   int
	args [6]uint64
}

// outcome is how a call ends.
type outcome struct {
	kind  outcomeKind
	value int64
	errno unix.Errno
}

type outcomeKind uint8

const (
	kernels  outcomeKind = iota // the kernel shall carry it out
	ours                        // with value or errno
	answered                    // the answer is with the caller already
)

var proceed = outcome{kind: kernels}

func returns(n int) outcome            { return outcome{kind: ours, value: int64(n)} }
func fails(errno unix.Errno) outcome   { return outcome{kind: ours, errno: errno} }
func (o outcome) isKernels() bool      { return o.kind == kernels }
func (n *notification) fd(arg int) int { return int(int32(n.args[arg])) }

// answer ends a call. A caller that was killed meanwhile needs no answer.
func (l listener) answer(id uint64, o outcome) {
	switch o.kind {
	case kernels:
		l.send(id, 0, 0, unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE)
	case ours:
		val := o.value
		if o.errno != 0 {
			val = 0
		}
		l.send(id, val, o.errno, 0)
	}
}

// inject gives the caller a copy of our descriptor fd as the result of its call.
// A number below 0 is the lowest free one.
//
// The answer is a step of its own. With SECCOMP_ADDFD_FLAG_SEND a signal to us
// between the two would leave the caller without the descriptor but with an
// answer: 0, its standard input.
func (l listener) inject(id uint64, fd, number int, closeOnExec bool) unix.Errno {
	flags, newfdFlags := uint32(0), 0
	if number >= 0 {
		flags |= unix.SECCOMP_ADDFD_FLAG_SETFD
	} else {
		number = 0
	}
	if closeOnExec {
		newfdFlags = unix.O_CLOEXEC
	}
	given, errno := l.addFD(id, fd, flags, number, newfdFlags)
	if errno == 0 {
		l.send(id, int64(given), 0, 0)
	}
	return errno
}

// wait waits for the next notification. It is false when there is nobody left
// who could make one.
func (l listener) wait() (notification, bool) {
	poll := []unix.PollFd{{Fd: int32(l), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(poll, -1); err != nil {
			if err == unix.EINTR {
				continue
			}
			return notification{}, false
		}
		// POLLERR only means that a signal came while the kernel looked.
		switch events := poll[0].Revents; {
		case events&unix.POLLIN != 0:
		case events&(unix.POLLHUP|unix.POLLNVAL) != 0:
			return notification{}, false
		default:
			continue
		}
		// ENOENT: the caller was killed, EINTR: we were interrupted.
		if n, errno := l.receive(); errno == 0 {
			return n, true
		}
	}
}
