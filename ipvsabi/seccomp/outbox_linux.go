package seccomp

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// maxWaiting is how many replies may wait for room in a socket whose program
// asks more without reading them.
const maxWaiting = 1024

// outbox puts replies into the receive queues of the programs' sockets. The
// kernel makes the parts of a long listing as they are read; so what finds no
// room waits here until the program receives.
type outbox struct {
	mu      sync.Mutex        // held while something is put into a socket, which never blocks
	waiting map[uint64]*queue // by socket cookie; guarded by mu
}

// queue is what waits for one socket.
type queue struct {
	port    uint32
	replies [][]byte
	pid     int // of the process that asked; of its thread as long as nothing waits
}

// send puts replies into the receive queue of socket fd, whose port is port, in
// the order of the requests.
func (o *outbox) send(fd int, port uint32, replies [][]byte, tid int) unix.Errno {
	cookie, errno := cookieOf(fd)
	if errno != 0 {
		return errno
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	q := o.waiting[cookie]
	if q == nil {
		q = &queue{port: port, pid: tid}
	}
	if len(q.replies) > maxWaiting {
		return unix.ENOBUFS
	}
	q.replies = append(q.replies, replies...)
	return o.flush(fd, cookie, q)
}

// resume puts what waits for socket fd into its receive queue, as far as it goes.
func (o *outbox) resume(fd int) {
	cookie, errno := cookieOf(fd)
	if errno != 0 {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if q := o.waiting[cookie]; q != nil {
		_ = o.flush(fd, cookie, q)
	}
}

// flush sends what there is room for and keeps the rest.
func (o *outbox) flush(fd int, cookie uint64, q *queue) unix.Errno {
	errno := q.flush(fd)
	switch {
	case errno != 0 || len(q.replies) == 0:
		delete(o.waiting, cookie)
	case o.waiting[cookie] == nil:
		o.sweep()
		if s, err := readStatus(q.pid); err == nil {
			q.pid = s.tgid // who reads the rest may be another of its threads
		}
		o.waiting[cookie] = q
	}
	return errno
}

// sweep forgets the queues of processes that ended without having read all.
func (o *outbox) sweep() {
	for cookie, q := range o.waiting {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", q.pid)); err != nil {
			delete(o.waiting, cookie)
		}
	}
}

func (q *queue) flush(fd int) unix.Errno {
	for len(q.replies) > 0 {
		switch err := unix.Sendto(fd, q.replies[0], unix.MSG_DONTWAIT, &unix.SockaddrNetlink{Pid: q.port}); err {
		case nil:
			q.replies = q.replies[1:]
		case unix.EINTR:
		case unix.EAGAIN:
			return 0
		case unix.ECONNREFUSED:
			// A socket that is connected to the kernel takes nothing from
			// others, itself included. Not connected it is the same to its
			// program: what it sends goes to the kernel.
			if errno := disconnect(fd); errno != 0 {
				return errno
			}
		default:
			return errnoOf(err)
		}
	}
	return 0
}

func cookieOf(fd int) (uint64, unix.Errno) {
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	if err != nil {
		return 0, errnoOf(err)
	}
	return cookie, 0
}
