package seccomp

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// passedOn are the signals that are the program's business. SIGTSTP and its
// like stop us as they stop the program: they come from the terminal.
var passedOn = []os.Signal{
	unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGCONT, unix.SIGWINCH,
}

// catchSignals keeps the signals of this process from having their usual effect.
// They wait in the channel.
func catchSignals() chan os.Signal {
	var wanted []os.Signal
	for _, s := range passedOn {
		if !signal.Ignored(s) { // as under nohup, which the program inherits
			wanted = append(wanted, s)
		}
	}
	caught := make(chan os.Signal, 16)
	signal.Notify(caught, wanted...)
	return caught
}

// passOn sends the program the signals that this process gets, until the last
// process has ended. What a terminal sends reaches the program too, which is in
// the same process group, and is not passed on.
func (g *Guest) passOn(caught chan os.Signal) {
	defer signal.Stop(caught)
	t := openTerminal()
	defer t.close()
	for {
		select {
		case s := <-caught:
			if !t.sent(s) {
				g.Signal(s.(syscall.Signal))
			}
		case <-g.release:
			return
		}
	}
}

// terminal is the one that controls this process, -1 if there is none.
type terminal int

func openTerminal() terminal {
	fd, err := unix.Open("/dev/tty", unix.O_RDONLY|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	return terminal(fd)
}

func (t terminal) close() {
	if t >= 0 {
		unix.Close(int(t))
	}
}

// sent reports whether the terminal sent a signal, and to the whole process
// group. The kernel tells nobody but signal handlers; so it is taken for the
// terminal's when it can be: INT, QUIT and WINCH when this group is in the
// foreground, HUP when the terminal is gone. Who means the program alone, in the
// foreground of a terminal, has to signal it and not us.
func (t terminal) sent(s os.Signal) bool {
	if t < 0 {
		return false
	}
	foreground, err := unix.IoctlGetInt(int(t), unix.TIOCGPGRP)
	switch s {
	case unix.SIGINT, unix.SIGQUIT, unix.SIGWINCH:
		return err == nil && foreground == unix.Getpgrp()
	case unix.SIGHUP:
		return err != nil
	}
	return false
}
