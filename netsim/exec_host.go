package netsim

// Exec runs a command on the host and returns what it printed. It understands
// ip (addr, link, route, neigh), sysctl, `usvs realserver` and arping.
func (h *Host) Exec(command string) Result {
	w, err := words(command)
	switch {
	case err != nil:
		return failed(2, "%v", err)
	case !h.Running():
		return h.silent()
	}
	return h.run(w)
}

// silent is what comes of a command on a machine that does not run.
func (h *Host) silent() Result { return failed(255, "%s does not respond", h.name) }

func (h *Host) run(w []string) Result {
	if len(w) > 0 && w[0] == "sudo" {
		w = w[1:]
	}
	if len(w) == 0 {
		return Result{}
	}
	switch w[0] {
	case "ip":
		return h.ip(w[1:])
	case "sysctl":
		return h.sysctlCommand(w[1:])
	case "usvs":
		if len(w) > 1 && w[1] == "realserver" {
			return h.realServer(w[2:])
		}
	case "arping":
		return h.arping(w[1:])
	case "modprobe":
		return Result{} // everything is built in
	}
	return failed(127, "%s: command not found", w[0])
}

// ExecInput is Exec; none of a host's commands reads standard input.
func (h *Host) ExecInput(command, _ string) Result { return h.Exec(command) }
