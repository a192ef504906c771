package seccomp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"usvs/ipvs"
	"usvs/ipvsabi"
)

// programs are what the tests wrap: what unmodified programs do, and worse.
var programs = map[string]func(args []string){
	"talk": talk, "copies": copies, "threads": threads, "hang": hang, "namespace": namespaced,
	"admin": admin, "options": options, "files": files, "absent": absent, "many": many, "hostile": hostile,
}

// The commands that the fake director knows.
const (
	askReplies = iota + 1 // as many as the body says, of that size
	askAdmin              // whether the caller counts as an administrator
	askName               // which director this is
	askForever            // no answer before the test ends
)

// client is a generic netlink socket.
type client struct {
	fd  int
	seq uint32
}

func open(flags int) *client {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|flags, unix.NETLINK_GENERIC)
	checkErr(err, "socket")
	check(socketWindow.has(fd), "socket has number %d", fd)
	checkErr(unix.Bind(fd, &unix.SockaddrNetlink{}), "bind")
	return &client{fd: fd}
}

func (c *client) send(cmd byte, body ...byte) {
	c.seq++
	err := unix.Sendto(c.fd, request(ipvsabi.FamilyID, unix.NLM_F_REQUEST, c.seq, cmd, body...), 0, &unix.SockaddrNetlink{})
	checkErr(err, "send")
}

// receive receives one datagram in the way of number way, and returns what
// follows its headers.
func (c *client) receive(way int) []byte {
	buf := make([]byte, 1<<16)
	n, from := 0, unix.Sockaddr(&unix.SockaddrNetlink{})
	err := error(unix.EINTR)
	for err == unix.EINTR {
		switch way % 4 {
		case 0:
			n, _, _, from, err = unix.Recvmsg(c.fd, buf, nil, 0)
		case 1:
			n, from, err = unix.Recvfrom(c.fd, buf, 0)
		case 2:
			n, err = unix.Read(c.fd, buf)
		case 3:
			n, from, err = receiveMany(c.fd, buf)
		}
	}
	checkErr(err, "receive")
	sender, ok := from.(*unix.SockaddrNetlink)
	check(ok && sender.Pid == 0, "way %d: the sender is %v", way%4, from)
	check(n >= 20, "%d bytes received", n)
	check(native.Uint32(buf[8:]) == c.seq, "sequence number %d, want %d", native.Uint32(buf[8:]), c.seq)
	return buf[20:n]
}

// receiveMany receives one datagram by recvmmsg.
func receiveMany(fd int, buf []byte) (int, unix.Sockaddr, error) {
	var m struct {
		hdr unix.Msghdr
		len uint32
		_   uint32
	}
	from := unix.RawSockaddrNetlink{Pid: 1}
	iov := unix.Iovec{Base: &buf[0]}
	iov.SetLen(len(buf))
	m.hdr.Iov, m.hdr.Iovlen = &iov, 1
	m.hdr.Name, m.hdr.Namelen = (*byte)(unsafe.Pointer(&from)), unix.SizeofSockaddrNetlink
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&m)), 1, 0, 0, 0)
	if errno != 0 {
		return 0, nil, errno
	}
	check(n == 1, "recvmmsg received %d", n)
	return int(m.len), &unix.SockaddrNetlink{Pid: from.Pid}, nil
}

// replies asks for count datagrams of size bytes and receives them in order.
func (c *client) replies(count, size int) {
	c.send(askReplies, binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(nil, uint32(count)), uint32(size))...)
	for i := range count {
		body := c.receive(i)
		check(len(body) == size, "reply %d has %d bytes, want %d", i, len(body), size)
		check(native.Uint32(body) == uint32(i), "reply %d comes as number %d", native.Uint32(body), i)
	}
}

func (c *client) ask(cmd byte) string {
	c.send(cmd)
	return string(c.receive(0))
}

// family resolves IPVS and returns its number, or the error.
func (c *client) family() (int, unix.Errno) {
	c.seq++
	checkErr(unix.Sendto(c.fd, resolve(c.seq), 0, &unix.SockaddrNetlink{}), "resolve")
	buf := make([]byte, 4096)
	n, from, err := unix.Recvfrom(c.fd, buf, 0)
	checkErr(err, "receive family")
	check(from.(*unix.SockaddrNetlink).Pid == 0, "the family comes from %v", from)
	if native.Uint16(buf[4:]) == unix.NLMSG_ERROR {
		return 0, unix.Errno(-int32(native.Uint32(buf[16:])))
	}
	_, _, err = unix.Recvfrom(c.fd, make([]byte, 4096), unix.MSG_DONTWAIT)
	checkErr(err, "the acknowledgement is there at once")
	i := bytes.Index(buf[:n], []byte{6, 0, unix.CTRL_ATTR_FAMILY_ID, 0})
	check(i > 0, "no family number in % x", buf[:n])
	return int(native.Uint16(buf[i+4:])), 0
}

func talk([]string) {
	for _, flags := range []int{0, unix.SOCK_CLOEXEC, unix.SOCK_NONBLOCK} {
		c := open(flags)
		onExec, err := unix.FcntlInt(uintptr(c.fd), unix.F_GETFD, 0)
		checkErr(err, "F_GETFD")
		check((onExec&unix.FD_CLOEXEC != 0) == (flags&unix.SOCK_CLOEXEC != 0), "flags %#x: close on exec is %d", flags, onExec)
		status, err := unix.FcntlInt(uintptr(c.fd), unix.F_GETFL, 0)
		checkErr(err, "F_GETFL")
		check((status&unix.O_NONBLOCK != 0) == (flags&unix.SOCK_NONBLOCK != 0), "flags %#x: status %#x", flags, status)
		id, errno := c.family()
		check(id == ipvsabi.FamilyID && errno == 0, "family %#x, %v", id, errno)
		c.replies(9, 100)
		c.replies(600, 4000) // ten times what the queue takes
		c.replies(1, 4)
		if flags&unix.SOCK_NONBLOCK != 0 {
			_, _, err = unix.Recvfrom(c.fd, make([]byte, 10), 0)
			check(err == unix.EAGAIN, "an empty queue is %v", err)
		}
		unix.Close(c.fd)
	}
	connected()
	kernelsOwn()
}

// connected uses send and recv without an address.
func connected() {
	c := open(0)
	checkErr(unix.Connect(c.fd, &unix.SockaddrNetlink{}), "connect")
	c.seq = 9
	_, err := unix.Write(c.fd, request(ipvsabi.FamilyID, unix.NLM_F_REQUEST, 9, askName))
	checkErr(err, "write")
	check(string(c.receive(2)) == "home", "an answer for a connected socket")
	tv := unix.Timeval{Usec: 1000}
	checkErr(unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv), "SO_RCVTIMEO")
	_, _, err = unix.Recvfrom(c.fd, make([]byte, 10), 0)
	check(err == unix.EAGAIN, "a deadline ends as %v", err)
	unix.Close(c.fd)
}

// kernelsOwn asks the kernel for a family that it has.
func kernelsOwn() {
	c := open(0)
	q := request(unix.GENL_ID_CTRL, unix.NLM_F_REQUEST, 1, unix.CTRL_CMD_GETFAMILY,
		11, 0, unix.CTRL_ATTR_FAMILY_NAME, 0, 'n', 'l', 'c', 't', 'r', 'l', 0, 0)
	checkErr(unix.Sendto(c.fd, q, 0, &unix.SockaddrNetlink{}), "ask for nlctrl")
	buf := make([]byte, 1<<14)
	n, _, err := unix.Recvfrom(c.fd, buf, 0)
	checkErr(err, "receive nlctrl")
	check(bytes.Contains(buf[:n], []byte("nlctrl")), "nlctrl is % x", buf[:n])
	unix.Close(c.fd)
}

// copies has the socket under other numbers, and other files at its number.
func copies([]string) {
	c := open(0)
	for _, dup := range []func() (int, error){
		func() (int, error) { return unix.Dup(c.fd) },
		func() (int, error) { return unix.FcntlInt(uintptr(c.fd), unix.F_DUPFD, 3) },
		func() (int, error) { return unix.FcntlInt(uintptr(c.fd), unix.F_DUPFD_CLOEXEC, lastSocket-5) },
	} {
		fd, err := dup()
		checkErr(err, "dup")
		check(socketWindow.has(fd) && fd != c.fd, "the copy has number %d", fd)
		other := &client{fd, c.seq}
		other.replies(4, 10)
		c.seq = other.seq
		unix.Close(fd)
	}
	number := c.fd
	unix.Close(c.fd)
	var p [2]int
	checkErr(unix.Pipe(p[:]), "pipe")
	checkErr(unix.Dup3(p[1], number, 0), "dup3")
	_, err := unix.Write(number, []byte("through"))
	checkErr(err, "write to a pipe at the socket's number")
	buf := make([]byte, 10)
	n, err := unix.Read(p[0], buf)
	check(err == nil && string(buf[:n]) == "through", "%q came, %v", buf[:n], err)
	c = open(0)
	check(c.fd != number, "the socket replaced a file")
	c.replies(4, 10)
}

// threads talk at the same time and are interrupted all the time.
func threads([]string) {
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, unix.SIGUSR1)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(100 * time.Microsecond):
				_ = unix.Kill(os.Getpid(), unix.SIGUSR1)
			}
		}
	}()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 15 {
				c := open(unix.SOCK_CLOEXEC)
				_, errno := c.family()
				check(errno == 0, "family: %v", errno)
				c.replies(5, 1000)
				unix.Close(c.fd)
			}
		})
	}
	all.Wait()
	close(done)
}

// hang asks a question that is not answered, and another one meanwhile.
func hang([]string) {
	slow := open(0)
	go slow.send(askForever)
	time.Sleep(50 * time.Millisecond)
	open(0).replies(3, 10)
	if os.Getpid() != 1 {
		checkErr(unix.Kill(os.Getpid(), unix.SIGKILL), "kill")
	}
	select {}
}

// namespaced prints which directors answer in two network namespaces: the
// socket's counts, wherever its owner is.
func namespaced(args []string) {
	runtime.LockOSThread()
	first := open(0)
	fd, err := unix.Open(args[0], unix.O_RDONLY|unix.O_CLOEXEC, 0)
	checkErr(err, "open namespace")
	checkErr(unix.Setns(fd, unix.CLONE_NEWNET), "setns")
	second := open(0)
	check(first.ask(askName) == "home", "home")
	check(second.ask(askName) == "away", "away")
	text, err := os.ReadFile("/proc/thread-self/net/ip_vs")
	check(err == nil && string(text) == "away ip_vs\n", "%q, %v", text, err)
	pid := "/proc/" + strconv.Itoa(os.Getppid()) + "/net/ip_vs"
	text, err = os.ReadFile(pid)
	check(err == nil && string(text) == "home ip_vs\n", "%s is %q, %v", pid, text, err)
}

// admin checks who counts as an administrator, in new namespaces for instance.
func admin(args []string) {
	if len(args) == 1 {
		got := open(0).ask(askAdmin)
		check(got == args[0], "administrator: %s, want %s", got, args[0])
		return
	}
	for _, tc := range []struct {
		flags uintptr
		want  string
	}{{0, "true"}, {unix.CLONE_NEWUSER, "false"}, {unix.CLONE_NEWUSER | unix.CLONE_NEWNET, "true"}, {unix.CLONE_NEWNET, "true"}} {
		cmd := exec.Command("/proc/self/exe", tc.want)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: tc.flags}
		if tc.flags&unix.CLONE_NEWUSER != 0 {
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}}
		}
		checkErr(cmd.Run(), fmt.Sprintf("in namespaces %#x", tc.flags))
	}
}

func getOption(fd, name int, buf []byte) (int, unix.Errno) {
	size := uint32(len(buf))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_IP, uintptr(name),
		uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&size)), 0)
	return int(size), errno
}

func options([]string) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	checkErr(err, "socket")
	buf := []byte("question")
	n, errno := getOption(fd, firstOption, buf)
	check(errno == 0 && string(buf[:n]) == "answer", "%q, %v", buf[:n], errno)
	_, errno = getOption(fd, firstOption+1, buf)
	check(errno == unix.ESRCH, "%v", errno)
	checkErr(unix.SetsockoptString(fd, unix.IPPROTO_IP, firstOption+2, "good"), "setsockopt")
	err = unix.SetsockoptString(fd, unix.IPPROTO_IP, firstOption+2, "bad")
	check(err == unix.EEXIST, "%v", err)
	_, _, errno = unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_IP, firstOption, 8, 8, 0)
	check(errno == unix.EFAULT, "%v", errno)
	six, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM, 0)
	checkErr(err, "socket")
	_, errno = getOption(six, firstOption, buf)
	check(errno == unix.ENOPROTOOPT, "%v", errno)
}

func files([]string) {
	const path, dir = "/proc/net/ip_vs", "/proc/sys/net/ipv4/vs"
	text, err := os.ReadFile(path)
	check(err == nil && string(text) == "home ip_vs\n", "%q, %v", text, err)
	for _, how := range []int{0, unix.O_CLOEXEC, unix.O_CLOEXEC | unix.O_NOFOLLOW} {
		fd, err := unix.Open(path, how, 0)
		checkErr(err, "open")
		flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		check(fd < firstSetting && (flags != 0) == (how&unix.O_CLOEXEC != 0), "number %d, flags %d", fd, flags)
		_, err = unix.Write(fd, []byte("x"))
		check(err == unix.EBADF, "written: %v", err)
		unix.Close(fd)
	}
	fd, err := unix.Openat2(unix.AT_FDCWD, path, &unix.OpenHow{Flags: unix.O_RDONLY})
	checkErr(err, "openat2")
	unix.Close(fd)
	_, err = os.OpenFile(path, os.O_WRONLY, 0)
	check(errors.Is(err, fs.ErrPermission), "%v", err)
	_, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0)
	check(errors.Is(err, fs.ErrExist), "%v", err)
	_, err = os.Stat("/proc/net/ip_vs_nosuch")
	check(errors.Is(err, fs.ErrNotExist), "%v", err)
	st, err := os.Stat(path)
	check(err == nil && st.Mode() == 0o444, "%v, %v", st, err)
	_, err = os.Readlink(path)
	check(errors.Is(err, unix.EINVAL), "%v", err)
	_, err = unix.Lgetxattr(path, "user.x", nil)
	check(err == unix.EOPNOTSUPP, "%v", err)
	checkErr(unix.Access(path, unix.R_OK), "access")
	check(unix.Access(path, unix.W_OK) == unix.EACCES, "may be written")
	checkErr(os.Chdir("/proc/net"), "chdir")
	_, err = os.Stat("ip_vs")
	checkErr(err, "stat relative to the working directory")

	entries, err := os.ReadDir(dir)
	checkErr(err, "list settings")
	check(len(entries) == len(ipvs.SysctlKeys()), "%d settings", len(entries))
	writeSettings(dir + "/conntrack")
}

func writeSettings(file string) {
	value := func() string {
		text, err := os.ReadFile(file)
		checkErr(err, "read setting")
		return strings.TrimSuffix(string(text), "\n")
	}
	check(value() == "0", "%s", value())
	checkErr(os.WriteFile(file, []byte("1\n"), 0o644), "write setting")
	check(value() == "1", "%s", value())
	err := os.WriteFile(file, []byte("bad"), 0o644)
	check(errors.Is(err, unix.EINVAL), "%v", err)
	check(value() == "1", "%s", value())

	// As a shell does it: the write is not seen, its effect is.
	fd, err := unix.Open(file, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_CLOEXEC, 0o666)
	checkErr(err, "open setting")
	check(settingsWindow.has(fd), "the setting has number %d", fd)
	const low = 100
	checkErr(unix.Dup3(fd, low, 0), "dup3")
	unix.Close(fd)
	for _, v := range []string{"2\n", "3\n"} {
		_, err = unix.Write(low, []byte(v))
		checkErr(err, "write")
		check(value() == "2", "the first write counts, not %s", value())
	}
	unix.Close(low)

	fd, err = unix.Open(file, unix.O_RDWR, 0)
	checkErr(err, "open for both")
	copied, err := unix.Dup(fd)
	check(err == nil && settingsWindow.has(copied), "copy %d, %v", copied, err)
	buf := make([]byte, 100)
	n, err := unix.Read(copied, buf)
	check(err == nil && string(buf[:n]) == "2\n", "%q, %v", buf[:n], err)
	n, err = unix.Writev(copied, [][]byte{[]byte("4"), []byte("\n")})
	check(err == nil && n == 2 && value() == "4", "%d, %v, %s", n, err, value())
}

// absent looks for IPVS where there is none.
func absent([]string) {
	_, errno := open(0).family()
	check(errno == unix.ENOENT, "family: %v", errno)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	checkErr(err, "socket")
	_, errno = getOption(fd, firstOption, make([]byte, 64))
	check(errno == unix.ENOPROTOOPT, "option: %v", errno)
	err = unix.SetsockoptString(fd, unix.IPPROTO_IP, firstOption+2, "x")
	check(err == unix.ENOPROTOOPT, "option: %v", err)
	for _, file := range []string{"/proc/net/ip_vs", "/proc/sys/net/ipv4/vs/conntrack", "/proc/sys/net/ipv4/vs"} {
		_, err := os.Stat(file)
		check(errors.Is(err, fs.ErrNotExist), "stat %s: %v", file, err)
		_, err = os.Open(file)
		check(errors.Is(err, fs.ErrNotExist), "open %s: %v", file, err)
	}
}

// many opens more sockets than there are numbers, and leaves replies unread.
func many([]string) {
	var list []int
	for range lastSocket - firstSocket + 1 {
		c := open(0)
		c.send(askReplies, 200, 0, 0, 0, 0, 16, 0, 0)
		list = append(list, c.fd)
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_GENERIC)
	check(err == nil && !socketWindow.has(fd), "one too many is %d, %v", fd, err)
	for _, fd := range slices.Backward(list) {
		unix.Close(fd)
	}
	open(0).replies(200, 4096)
}

// pinned is what only numbers point to, which must stay where it is.
var pinned []any

// hostile makes calls that cannot be right, on a socket that works afterwards.
func hostile([]string) {
	c := open(unix.SOCK_NONBLOCK)
	c.send(askReplies, 4, 0, 0, 0, 0, 16, 0, 0)
	fd := uintptr(c.fd)
	nowhere, huge := uintptr(8), uintptr(1)<<62
	data := make([]byte, 64)
	vector := []uint64{uint64(uintptr(unsafe.Pointer(&data[0]))), uint64(huge)}
	header := func(vector, count uint64) *[7]uint64 { return &[7]uint64{2: vector, 3: count} } // a struct msghdr
	nowhereVector, manyVectors := header(8, 1), header(uint64(uintptr(unsafe.Pointer(&vector[0]))), uint64(huge))
	hugeVector := header(manyVectors[2], 1)
	path := []byte("/proc/net/ip_vs\x00")
	pinned = []any{data, vector, path, nowhereVector, manyVectors, hugeVector}
	at := func(p unsafe.Pointer) uintptr { return uintptr(p) }
	for _, call := range []struct {
		what string
		nr   uintptr
		args [6]uintptr
	}{
		{"sendto nowhere", unix.SYS_SENDTO, [6]uintptr{fd, nowhere, 100}},
		{"sendto huge", unix.SYS_SENDTO, [6]uintptr{fd, nowhere, huge}},
		{"sendto, address nowhere", unix.SYS_SENDTO, [6]uintptr{fd, uintptr(unsafe.Pointer(&data[0])), 64, 0, nowhere, 12}},
		{"write nowhere", unix.SYS_WRITE, [6]uintptr{fd, nowhere, 20}},
		{"writev nowhere", unix.SYS_WRITEV, [6]uintptr{fd, nowhere, 1}},
		{"writev too many", unix.SYS_WRITEV, [6]uintptr{fd, nowhere, 1 << 20}},
		{"sendmsg nowhere", unix.SYS_SENDMSG, [6]uintptr{fd, nowhere}},
		{"sendmsg, vector nowhere", unix.SYS_SENDMSG, [6]uintptr{fd, at(unsafe.Pointer(nowhereVector))}},
		{"sendmsg, too many", unix.SYS_SENDMSG, [6]uintptr{fd, at(unsafe.Pointer(manyVectors))}},
		{"sendmsg, huge", unix.SYS_SENDMSG, [6]uintptr{fd, at(unsafe.Pointer(hugeVector))}},
		{"sendmmsg nowhere", unix.SYS_SENDMMSG, [6]uintptr{fd, nowhere, 1 << 20}},
		{"recvmsg nowhere", unix.SYS_RECVMSG, [6]uintptr{fd, nowhere}},
		{"recvmmsg nowhere", unix.SYS_RECVMMSG, [6]uintptr{fd, nowhere, 1 << 20}},
		{"dup above all limits", unix.SYS_FCNTL, [6]uintptr{fd, unix.F_DUPFD, 1 << 30}},
		{"dup to below 0", unix.SYS_FCNTL, [6]uintptr{fd, unix.F_DUPFD, ^uintptr(0)}},
		{"open nowhere", unix.SYS_OPENAT, [6]uintptr{^uintptr(99), nowhere}},
		{"openat2, how nowhere", unix.SYS_OPENAT2, [6]uintptr{^uintptr(99), at(unsafe.Pointer(&path[0])), nowhere, 24}},
		{"stat to nowhere", unix.SYS_NEWFSTATAT, [6]uintptr{^uintptr(99), at(unsafe.Pointer(&path[0])), nowhere}},
	} {
		_, _, errno := unix.Syscall6(call.nr, call.args[0], call.args[1], call.args[2], call.args[3], call.args[4], call.args[5])
		check(errno != 0 && errno != unix.ENOSYS, "%s: %v", call.what, errno)
	}
	for i := range 4 {
		check(len(c.receive(i)) == 4096, "reply %d", i)
	}
	open(0).replies(10, 1000)
}
