package seccomp

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"usvs/ipvs"
)

// The calls, by their arguments behind the path.

func (c *caller) open() outcome   { return c.openFile(c.file, c.args[1]) }
func (c *caller) openat() outcome { return c.openFile(c.file, c.args[2]) }

func (c *caller) openat2() outcome {
	var flags [8]byte // of struct open_how, where they come first
	if errno := c.read(c.args[2], flags[:]); errno != 0 {
		return fails(errno)
	}
	return c.openFile(c.file, native.Uint64(flags[:]))
}

// openFile opens a file that the kernel's IPVS would have. Where there is no
// director there is no file, as without IPVS, even if the kernel has one.
func (c *caller) openFile(t target, flags uint64) outcome {
	ns, err := c.namespaceFor(t)
	if err != nil {
		return proceed
	}
	defer c.namespaces.done(ns)
	write := flags&unix.O_ACCMODE != unix.O_RDONLY
	switch {
	case !exists(ns.director, t):
		return fails(unix.ENOENT)
	case flags&unix.O_PATH != 0:
		return proceed // a descriptor that names a file: there is none to name
	case t.kind == settingsDir && write:
		return fails(unix.EISDIR)
	case t.kind == settingsDir:
		return c.openDirectory(flags)
	case flags&(unix.O_CREAT|unix.O_EXCL) == unix.O_CREAT|unix.O_EXCL:
		return fails(unix.EEXIST)
	case flags&unix.O_DIRECTORY != 0:
		return fails(unix.ENOTDIR)
	case write && t.kind == setting:
		return c.openSetting(ns, t.name, flags)
	case write:
		return fails(unix.EACCES)
	}
	fd, err := textFile(t.name, func(w io.Writer) error { return contents(w, ns.director, t) })
	if err != nil {
		return fails(fileErrno(err))
	}
	defer unix.Close(fd)
	return c.give(fd, flags)
}

// give ends an open with a copy of fd.
func (c *caller) give(fd int, flags uint64) outcome {
	if errno := c.listener.inject(c.id, fd, -1, flags&unix.O_CLOEXEC != 0); errno != 0 {
		return fails(errno)
	}
	return outcome{kind: answered}
}

// openDirectory gives the caller a directory with the settings' names, to be
// listed. It is a file system of its own, so that nothing is left behind.
func (c *caller) openDirectory(flags uint64) outcome {
	fd, err := directoryOf(ipvs.SysctlKeys())
	if err != nil {
		return proceed
	}
	defer unix.Close(fd)
	return c.give(fd, flags)
}

// directoryOf returns a directory that contains empty files.
func directoryOf(names []string) (int, error) {
	files, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(files)
	if err := unix.FsconfigCreate(files); err != nil {
		return -1, err
	}
	root, err := unix.Fsmount(files, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(root)
	for _, name := range names {
		fd, err := unix.Openat(root, name, unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
		if err != nil {
			return -1, err
		}
		unix.Close(fd)
	}
	return unix.Openat(root, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

// contents writes what a file contains.
func contents(w io.Writer, d Director, t target) error {
	if t.kind == procFile {
		return d.WriteProc(w, t.name)
	}
	value, err := d.Sysctl(t.name)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, value)
	return err
}

// textFile returns a file that can only be read, and contains what write writes.
func textFile(name string, write func(io.Writer) error) (int, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return -1, err
	}
	file := os.NewFile(uintptr(fd), name)
	defer file.Close()
	if err := write(file); err != nil {
		return -1, err
	}
	// Opened again it starts at its beginning.
	return unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDONLY|unix.O_CLOEXEC, 0)
}

// exists reports whether the director has a file. No complaint if there is no
// director: looking for the file is how some programs find out.
func exists(d Director, t target) bool {
	if t.kind != setting {
		return d.Reach() == nil
	}
	_, err := d.Sysctl(t.name)
	return err == nil
}

// namespaceFor is the network namespace that a file tells of, when all that was
// written to settings there has come into force.
func (c *caller) namespaceFor(t target) (*namespace, error) {
	ns, err := c.namespaceByPID(t.pid)
	if err == nil {
		c.settings.drain(ns)
	}
	return ns, err
}

// namespaceByPID is the network namespace of a process, or the caller's own.
// Numbers mean the same to the caller and to us only in one PID namespace.
func (c *caller) namespaceByPID(pid int) (*namespace, error) {
	if pid == 0 {
		return c.ownNamespace()
	}
	theirs, err := os.Readlink(c.proc("ns/pid"))
	if err != nil {
		return nil, err
	}
	if ours, err := os.Readlink("/proc/self/ns/pid"); err != nil || ours != theirs {
		return nil, unix.ENOENT
	}
	fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return c.namespaces.use(fd)
}

// fileErrno is the error number of a file that could not be read or written.
func fileErrno(err error) unix.Errno {
	var errno unix.Errno
	switch {
	case errors.Is(err, ipvs.ErrInvalid), errors.Is(err, ipvs.ErrRange):
		return unix.EINVAL
	case errors.Is(err, ipvs.ErrNoEntry):
		return unix.ENOENT
	case errors.Is(err, ipvs.ErrPermission):
		return unix.EPERM
	case errors.As(err, &errno):
		return errno
	}
	return unix.EIO
}
