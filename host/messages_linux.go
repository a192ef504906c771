package host

import (
	"errors"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// eachMessage reads a socket until it is closed, whatever the kernel says
// meanwhile. What do gets is buf and control's, and overwritten by what is next.
func eachMessage(socket *os.File, buf, control []byte, do func(message, control []byte, from unix.Sockaddr)) {
	conn, err := socket.SyscallConn()
	if err != nil {
		return
	}
	for {
		var n, oobn int
		var from unix.Sockaddr
		var readErr error
		err := conn.Read(func(fd uintptr) bool {
			n, oobn, _, from, readErr = unix.Recvmsg(int(fd), buf, control, 0)
			return readErr != unix.EAGAIN
		})
		if err != nil { // closed
			return
		}
		if readErr != nil {
			slog.Debug("host: receive", "socket", socket.Name(), "err", readErr)
			if !transient(readErr) {
				time.Sleep(readPause)
			}
			continue
		}
		do(buf[:n], control[:oobn], from)
	}
}

// transient reports whether reading goes on at once after an error: those the
// network reports do not concern the socket.
func transient(err error) bool {
	return errors.Is(err, unix.ENETDOWN) || errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENOBUFS) ||
		errors.Is(err, unix.EHOSTUNREACH) || errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.ENOPROTOOPT) ||
		errors.Is(err, unix.ECONNREFUSED)
}
