package script

import (
	"os"
	"syscall"
)

// attributes make a process the leader of a group of its own, and its user's.
func (prog *Program) attributes(bound bool) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true}
	if bound {
		a.Pdeathsig = syscall.SIGTERM
	}
	if int(prog.uid) != os.Geteuid() || int(prog.gid) != os.Getegid() {
		a.Credential = &syscall.Credential{Uid: prog.uid, Gid: prog.gid}
	}
	return a
}
