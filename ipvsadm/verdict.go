package ipvsadm

import (
	"errors"
	"fmt"
	"strings"

	"usvs/ipvs"
)

// Exit statuses.
const (
	statusRead  = 1   // the backend failed a command that reads
	statusUsage = 2   // bad usage, or no backend
	statusWrite = 255 // the backend failed a command that writes; unknown options; "Try ..."
)

// verdict is how a command line ended. A nil verdict is success.
type verdict struct {
	text   string // for stderr; nothing is written when empty
	status int
	final  bool // ends a whole restore, not just its line
}

// fail refuses a command line.
func fail(format string, args ...any) *verdict {
	return &verdict{text: fmt.Sprintf(format, args...), status: statusUsage, final: true}
}

// tryHelp refuses a command line that has no command. The quotes are the
// original's.
func tryHelp(prog string) *verdict {
	text := fmt.Sprintf("Try `%s -h' or '%s --help' for more information.", prog, prog)
	return &verdict{text: text, status: statusWrite, final: true}
}

// badOption refuses a word of the command line. Alone among the usage errors
// it does not end a restore.
func badOption(word, why string) *verdict {
	return &verdict{text: word + ": " + why, status: statusWrite}
}

// writeFailed and readFailed report an error of the backend.
func writeFailed(c command, err error) *verdict {
	return backendFailed(c, err, verdict{status: statusWrite})
}

func readFailed(c command, err error) *verdict {
	return backendFailed(c, err, verdict{status: statusRead, final: true})
}

func backendFailed(c command, err error, v verdict) *verdict {
	if err == nil {
		return nil
	}
	if errors.Is(err, ErrUnreachable) {
		return unreachable(err)
	}
	v.text = message(c, err)
	return &v
}

// unreachable reports that there is no backend.
func unreachable(err error) *verdict {
	reason := strings.TrimPrefix(message(cmdNone, err), ErrUnreachable.Error()+": ")
	return fail("Can't initialize ipvs: %s\n"+
		"Are you sure that IP Virtual Server is built in the kernel or as module?", reason)
}

// messages are the texts of the backend's errors: what a command makes of one,
// and what every other command says.
var messages = []struct {
	err   error
	by    map[command]string
	other string
}{
	{ipvs.ErrExists, map[command]string{
		cmdAdd:         "Service already exists",
		cmdAddServer:   "Destination already exists",
		cmdStartDaemon: "Daemon has already run",
	}, "File exists"},
	{ipvs.ErrNotFound, map[command]string{
		cmdEdit:         "No such service",
		cmdDelete:       "No such service",
		cmdZero:         "No such service",
		cmdListService:  "No such service",
		cmdAddServer:    "Service not defined",
		cmdEditServer:   "Service not defined",
		cmdDeleteServer: "Service not defined",
		cmdStopDaemon:   "No daemon is running",
	}, "No such process"},
	{ipvs.ErrNoEntry, map[command]string{
		cmdAdd:          "Scheduler or persistence engine not found",
		cmdEdit:         "Scheduler or persistence engine not found",
		cmdEditServer:   "No such destination",
		cmdDeleteServer: "No such destination",
	}, "No such file or directory"},
	{ipvs.ErrPermission, nil, "Permission denied (you must be root)"},
	{ipvs.ErrInvalid, nil, "Invalid operation.  Possibly wrong module version, address not unicast, ..."},
	{ipvs.ErrFamily, nil, "Operation not supported with specified address family"},
	{ipvs.ErrRange, nil, "Numerical result out of range"},
	{ipvs.ErrNoDevice, nil, "No such device"},
}

// message is what c says about err. An error that is not a sentinel, or that
// the original cannot have, speaks for itself.
func message(c command, err error) string {
	for _, m := range messages {
		if !errors.Is(err, m.err) {
			continue
		}
		if text, ok := m.by[c]; ok {
			return text
		}
		return m.other
	}
	return err.Error()
}
