// Package seccomp runs an unmodified program (ipvsadm, keepalived, anything that
// uses moby/ipvs or libnl) so that it finds a usvs director where it looks for
// the kernel's IPVS: `usvs exec`. Nothing is loaded into the program, and
// statically linked ones do as well.
//
// # How
//
// A thread gives itself a seccomp filter with user notification and starts the
// program, which inherits the filter with all that it starts. The filter hands
// a few system calls to this process and lets all others through:
//
//   - socket(AF_NETLINK, *, NETLINK_GENERIC) is answered with a real socket, made
//     in the caller's network namespace and injected at a number from 960 to
//     1007, the window. Everything but sending and receiving is the kernel's.
//   - Sending on a descriptor of the window: requests about IPVS are answered by
//     package ipvsabi, from the director of the socket's network namespace; the
//     replies are put into the socket's own receive queue, so that poll, peek,
//     blocking and deadlines are the kernel's. All other families are the
//     kernel's too.
//   - Receiving on one: only to show the kernel, port 0, as the sender, and to
//     refill the queue when a long listing did not fit.
//   - dup and fcntl(F_DUPFD) of one: the copy is in the window as well.
//   - getsockopt and setsockopt, level IPPROTO_IP, names 1152 to 1167.
//   - With Config.Files, calls that open or look at a path from the root or the
//     working directory (openat and the like with AT_FDCWD; openat2; on amd64
//     also open, stat, lstat, access, readlink; getxattr and listxattr):
//     /proc/net/ip_vs*, /proc/PID/net/ip_vs*, /proc/sys/net/ipv4/vs/*. A file is
//     given as a read-only copy of its text at the time of opening. A setting that
//     is opened for writing is a socket at a number from 944 to 959: a write there
//     is handed to us and ends with the kernel's error numbers.
//
// Which director answers is a matter of the network namespace, as with the
// kernel: see Connect. Without one, IPVS is not found, as on a kernel without
// ip_vs, and the kernel is not asked, so that it does not load its own.
//
// A caller needs what the kernel demands: CAP_NET_ADMIN in the user namespace
// that owns the network namespace.
//
// # Requirements
//
// Linux 5.19 (WAIT_KILLABLE_RECV: without it interrupted calls ran twice), on
// amd64 or arm64; a /proc of our own PID namespace; CAP_SYS_ADMIN or else
// no_new_privs, with which the program cannot gain privileges by exec (sudo,
// file capabilities); CAP_NET_ADMIN to put replies into sockets; the right to
// look into the program (ptrace(2): as its ancestor, or CAP_SYS_PTRACE).
// Seccomp filters nest, but only one of a process's filters can have a listener:
// see ErrNested.
//
// # As a service
//
// The wrapper stays in the foreground, also around programs that become daemons;
// it is the process that a service manager watches (Type=exec). systemd sends
// SIGTERM to all processes of a unit, so that the program would get it twice:
// KillMode=mixed sends it to the wrapper alone, which passes it on. A program that notifies the service manager
// itself needs NotifyAccess=all. ^Z stops wrapper and program together, as both
// are in the terminal's process group.
//
// # Cost
//
// A call that is handed over and left to the kernel takes 5 to 6 microseconds
// longer (x86-64, 2 CPUs): those of Config.Files. The filter alone is not
// measurable, and programs that walk trees by directory descriptors, like find,
// run as fast as ever.
//
// # Limits
//
//   - 32-bit and x32 programs are not served: their calls go to the kernel.
//   - Calls by io_uring are not seen.
//   - A wrapped program cannot have a listener for seccomp notifications itself.
//   - A netlink socket that dup2, dup3 or SCM_RIGHTS moved out of the window is
//     the kernel's, which answers ENOENT to requests for our family number. One
//     that already waits in a receive when its reply comes shows its own port as
//     the sender.
//   - Credentials (SO_PASSCRED) of a netlink reply are those of this process.
//   - A setting moved out of its window, which is what a shell does for
//     `echo 1 >FILE`, is written without an error; what the director refuses is
//     told by Config.Say. What was written is in force before the next call of
//     that network namespace is answered. A setting cannot be seeked.
//   - Only the first write to an open setting counts (kernel.sysctl_writes_strict).
//   - Paths are taken as text: links outside /proc, and directories opened before,
//     do not lead to our files. /proc/net and /proc/sys/net/ipv4 do not list them.
//   - A program that may open fewer than 1008 files has no window and falls back
//     to socket options, which know IPv4 only.
//   - When this process is killed, what the filter hands over fails with ENOSYS:
//     with Config.Files that includes opening files. The program gets SIGTERM.
//     Daemons, which are not our own child, do not.
//
// # Invariants
//
//   - No call is held by us but as long as a director thinks; never a receive.
//   - What was read about a caller counts only if the call was still waiting
//     afterwards (NOTIF_ID_VALID): its number may be another one's by then.
//   - What a program says has no effect on this process but memory in
//     proportion to a datagram, and descriptors that are closed when it ends.
//   - The thread with the filter starts the program and then sleeps. No other
//     thread inherits the filter: the Go runtime starts threads from one of its
//     own while a locked one has to (runtime.LockOSThread).
//
// # Files
//
//	guest_linux.go       starting, the loop that serves calls
//	calls_linux*.go      which calls, and by whom they are served
//	filter_linux.go      the filter
//	kernel_linux_unsafe.go  system calls that golang.org/x/sys does not have
//	listener_linux.go    notifications and answers
//	caller_linux.go      the thread that waits in a call; memory_linux.go its memory
//	permission_linux.go  whether it may
//	namespace_linux.go   network namespaces; director_linux.go who answers there
//	socket_linux.go      generic netlink: making, send_linux.go, receive_linux.go
//	outbox_linux.go      replies that wait for room
//	option_linux.go      socket options
//	path_linux.go        which files are ours; files_linux.go, stat_linux.go
//	settings_linux.go    files that can be written
//	family_linux.go      reaping, the end; signals_linux.go, companion_linux.go
//
// # Locks
//
// All are leaves but two: under Guest.placing Guest.mu may be taken, and under
// openSetting.mu, which is held while the director is asked, Guest.mu and
// namespaces.mu.
package seccomp
