package ipvsadm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"usvs/ipvs"

	"github.com/stretchr/testify/require"
)

// play runs a command line on m with input and returns everything it did.
func play(m Backend, input, line string) (stdout, stderr string, status int) {
	var out, errs bytes.Buffer
	status = Run(append([]string{"ipvsadm"}, strings.Fields(line)...), m, nil, strings.NewReader(input), &out, &errs)
	return out.String(), errs.String(), status
}

// TestBackendErrors is the table of what each command says to each error.
func TestBackendErrors(t *testing.T) {
	lines := map[command]string{
		cmdAdd: "-A -t 1.2.3.4:80", cmdEdit: "-E -t 1.2.3.4:80", cmdDelete: "-D -t 1.2.3.4:80", cmdFlush: "-C",
		cmdAddServer: "-a -t 1.2.3.4:80 -r 1.1.1.1", cmdEditServer: "-e -t 1.2.3.4:80 -r 1.1.1.1",
		cmdDeleteServer: "-d -t 1.2.3.4:80 -r 1.1.1.1", cmdZero: "-Z -t 1.2.3.4:80", cmdSet: "--set 1 2 3",
		cmdStartDaemon: "--start-daemon master", cmdStopDaemon: "--stop-daemon master",
		cmdListService: "-L -t 1.2.3.4:80", cmdSave: "-S",
	}
	const (
		noService  = "No such service"
		notDefined = "Service not defined"
		noEngine   = "Scheduler or persistence engine not found"
		noServer   = "No such destination"
	)
	for _, e := range []struct {
		err   error
		other string
		by    map[command]string
	}{
		{ipvs.ErrExists, "File exists", map[command]string{
			cmdAdd: "Service already exists", cmdAddServer: "Destination already exists", cmdStartDaemon: "Daemon has already run"}},
		{ipvs.ErrNotFound, "No such process", map[command]string{
			cmdEdit: noService, cmdDelete: noService, cmdZero: noService, cmdListService: noService,
			cmdAddServer: notDefined, cmdEditServer: notDefined, cmdDeleteServer: notDefined, cmdStopDaemon: "No daemon is running"}},
		{ipvs.ErrNoEntry, "No such file or directory", map[command]string{
			cmdAdd: noEngine, cmdEdit: noEngine, cmdEditServer: noServer, cmdDeleteServer: noServer}},
		{ipvs.ErrPermission, "Permission denied (you must be root)", nil},
		{ipvs.ErrInvalid, "Invalid operation.  Possibly wrong module version, address not unicast, ...", nil},
		{ipvs.ErrFamily, "Operation not supported with specified address family", nil},
		{ipvs.ErrRange, "Numerical result out of range", nil},
		{ipvs.ErrNoDevice, "No such device", nil},
		{ipvs.ErrNotReady, "add service 3: " + ipvs.ErrNotReady.Error(), nil},
		{errors.New("disk on fire"), "add service 3: disk on fire", nil},
	} {
		for c, line := range lines {
			m := newModel()
			m.fail = fmt.Errorf("add service 3: %w", e.err)
			want, ok := e.by[c]
			if !ok {
				want = e.other
			}
			stdout, stderr, status := play(m, "", line)
			require.Empty(t, stdout)
			require.Equal(t, want+"\n", stderr, line)
			wantStatus := 255
			if c == cmdListService || c == cmdSave {
				wantStatus = 1
			}
			require.Equal(t, wantStatus, status, line)
		}
	}
}

func TestFailedListings(t *testing.T) {
	m := newModel()
	m.fail = ipvs.ErrPermission
	for line, want := range map[string][2]string{
		"-L":           {"IP Virtual Server version 1.2.1 (size=4096)\n", "Permission denied (you must be root)\n"},
		"-L --timeout": {"", ""},
		"-L --daemon":  {"", ""},
		"-Lc":          {"", "Permission denied (you must be root)\n"},
	} {
		stdout, stderr, status := play(m, "", line)
		require.Equal(t, want, [2]string{stdout, stderr}, line)
		require.Equal(t, 1, status, line)
	}
}

func TestUnreachable(t *testing.T) {
	const rest = "\nAre you sure that IP Virtual Server is built in the kernel or as module?\n"
	for _, c := range []struct {
		err    error
		reason string
	}{
		{fmt.Errorf("%w: no such socket", ErrUnreachable), "no such socket"},
		{fmt.Errorf("%w: %w", ErrUnreachable, ipvs.ErrPermission), "Permission denied (you must be root)"},
		{ErrUnreachable, "director unreachable"},
	} {
		absent := newModel()
		absent.infoErr = c.err
		lost := newModel() // it was there a moment ago
		lost.fail = c.err
		for _, line := range []string{"-L -n", "-S", "-C", "-A -t 1.2.3.4:80", "-L --timeout", "-Lc"} {
			for _, m := range []*model{absent, lost} {
				_, stderr, status := play(m, "", line)
				require.Equal(t, "Can't initialize ipvs: "+c.reason+rest, stderr, line)
				require.Equal(t, 2, status, line)
			}
		}
		_, stderr, _ := play(absent, "", "--nonsense") // the backend is looked at first
		require.Contains(t, stderr, "Can't initialize")
		for _, line := range []string{"-h", "-v", "--help", "--version"} {
			stdout, stderr, status := play(absent, "", line)
			require.Contains(t, stdout, "ipvsadm v1.31 2019/12/24")
			require.Empty(t, stderr)
			require.Zero(t, status)
		}
	}
	gone := newModel()
	gone.fail = ErrUnreachable
	_, stderr, status := play(gone, "-C\n-C\n", "-R")
	require.Equal(t, 1, strings.Count(stderr, "initialize"), "a restore ends there")
	require.Equal(t, 2, status)
}

func TestProgramName(t *testing.T) {
	var out bytes.Buffer
	require.Equal(t, 255, Run([]string{"/sbin/ipvsadm", "-Q"}, newModel(), nil, nil, &out, &out))
	require.Equal(t, "Try `/sbin/ipvsadm -h' or '/sbin/ipvsadm --help' for more information.\n", out.String())
	out.Reset()
	Run([]string{"usvs ipvsadm", "-h"}, newModel(), nil, nil, &out, &out)
	require.Contains(t, out.String(), "\n  usvs ipvsadm --set tcp tcpfin udp\n")
	out.Reset()
	require.Zero(t, Run(nil, newModel(), nil, nil, &out, &out))
	require.Contains(t, out.String(), "IP Virtual Server version")
}

func TestZeroTargets(t *testing.T) {
	for line, want := range map[string]string{
		"-Z":                   "zero <nil>",
		"-Z -t 0.0.0.0":        "zero <nil>",
		"-Z -t ::":             "zero <nil>",
		"-Z -t 0.0.0.0:1":      "zero TCP 0.0.0.0:1",
		"-Z -t 1.2.3.4:0":      "zero TCP 1.2.3.4:0",
		"-Z -f 3":              "zero FWM 3",
		"-Z --ipv6":            "",
		"-Z -u [2001:db8::]:5": "zero UDP [2001:db8::]:5",
	} {
		m := newModel()
		play(m, "", line)
		require.Equal(t, want, strings.Join(m.calls, ";"), line)
	}
}

func TestRestore(t *testing.T) {
	const add = "-A -t 1.2.3.4:80 -s rr\n"
	for _, c := range []struct {
		what, input, stderr string
		status, services    int
	}{
		{"nothing", "", "", 0, 0},
		{"blank lines, no final newline", "\n \t \r\n-A -t 1.2.3.4:80", "", 0, 1},
		{"the program's name, anywhere", "ipvsadm -A ipvsadm -t 1.2.3.4:80 ipvsadm\nipvsadm\n", "", 0, 1},
		{"but not with a path", "/sbin/ipvsadm\n" + add, "Try `ipvsadm -h' or 'ipvsadm --help' for more information.\n", 255, 0},
		{"DOS lines, tabs", "-A\t-t\t1.2.3.4:80\r\n-A -f 3\r\n", "", 0, 2},
		{"the last status counts", add + add + "-A -f 3\n", "Service already exists\n", 0, 2},
		{"even if it is bad", add + add, "Service already exists\n", 255, 1},
		{"unknown options do not stop it", "-A -Q\n-A -t\n" + add, "-Q: unknown option\n-t: missing argument\n", 0, 1},
		{"bad values do", "-A -f x\n" + add, "invalid fwmark value `x' specified\n", 2, 0},
		{"comments are words", add + "# -C\n" + add, "unexpected argument #\n", 2, 1},
		{"lines cannot be continued", "-A -t 1.2.3.4:80 \\\n-s rr\n", "unexpected argument \\\n", 2, 0},
		{"no restore within", add + "-R\n-A -f 3\n", "Try `ipvsadm -h' or 'ipvsadm --help' for more information.\n", 255, 1},
		{"a failed listing stops it", "-L -t 9.9.9.9:1\n" + add, "No such service\n", 1, 0},
		{"help stops it", "-h\n" + add, "", 0, 0},
		{"a line too long", add + strings.Repeat("x", maxLine+1), "line longer than 1048576 bytes\n", 2, 1},
	} {
		m := newModel()
		_, stderr, status := play(m, c.input, "-R")
		require.Equal(t, c.stderr, stderr, c.what)
		require.Equal(t, c.status, status, c.what)
		require.Len(t, m.services, c.services, c.what)
	}
}

func TestRestoreOutput(t *testing.T) {
	stdout, stderr, status := play(newModel(), "-A -f 3 -s rr\n-Sn\n-L --timeout\n", "-R")
	require.Equal(t, "-A -f 3 -s rr\nTimeout (tcp tcpfin udp): 900 120 300\n", stdout)
	require.Empty(t, stderr)
	require.Zero(t, status)

	var errs bytes.Buffer
	broken := iotest.ErrReader(errors.New("broken pipe"))
	require.Equal(t, 2, Run([]string{"ipvsadm", "-R"}, newModel(), nil, broken, io.Discard, &errs))
	require.Equal(t, "cannot read rules: broken pipe\n", errs.String())
}

// What is saved can be restored, and saves the same again.
func TestSaveRestores(t *testing.T) {
	m := newModel()
	input := "-A -t 1.2.3.4:80 -s sh -p 60 -M 255.255.0.0 -b sh-port\n-a -t 1.2.3.4:80 -r 1.1.1.1 -m -w 3\n" +
		"-A -u [2001:db8::1]:53 -s rr -p 9 -M 64 --pe sip -o\n-a -u [2001:db8::1]:53 -r 1.1.1.1 -i --tun-type gue --tun-port 7 --tun-csum\n" +
		"-A -f 3 -6 -s wlc\n-a -f 3 -6 -r [2001:db8::2]:80 -w 0\n"
	_, stderr, _ := play(m, input, "-R")
	require.Empty(t, stderr)
	first, _, _ := play(m, "", "-Sn")
	again := newModel()
	_, stderr, status := play(again, first, "-R")
	require.Empty(t, stderr)
	require.Zero(t, status)
	second, _, _ := play(again, "", "-Sn")
	require.Equal(t, first, second)
	require.Equal(t, 6, strings.Count(first, "\n"))
}

func TestExec(t *testing.T) {
	m := newModel()
	var out, errs bytes.Buffer
	exec := func(line string) int { return Exec(Words(line), m, nil, &out, &errs) }
	require.Zero(t, exec(" \t\r\n"))
	require.Zero(t, exec("ipvsadm\r\n"))
	require.Zero(t, exec("ipvsadm -A -t 1.2.3.4:80 -s rr\n"))
	require.Equal(t, 255, exec("-A -t 1.2.3.4:80 -s rr\n"))
	require.Equal(t, 255, exec("-R"))
	require.Equal(t, 2, exec("-A -f x"))
	require.Equal(t, "Service already exists\n"+
		"Try `ipvsadm -h' or 'ipvsadm --help' for more information.\n"+
		"invalid fwmark value `x' specified\n", errs.String())
	require.Empty(t, out.String())
	require.Len(t, m.services, 1)
}

func TestSaveScript(t *testing.T) {
	m := newModel()
	play(m, "", "-A -t 1.2.3.4:80")
	names := book{hosts: map[string]string{"www": "1.2.3.4"}}
	for args, want := range map[string]string{
		"":       "-A -t www:80 -s wlc\n",
		"-n":     "-A -t 1.2.3.4:80 -s wlc\n",
		"-nn":    "-A -t 1.2.3.4:80 -s wlc\n",
		"x -n":   "-A -t www:80 -s wlc\n",
		"-n x":   "-A -t 1.2.3.4:80 -s wlc\n",
		"-n -x":  "",
		"--help": "",
	} {
		var out, errs bytes.Buffer
		status := RunSave(append([]string{"ipvsadm-save"}, strings.Fields(args)...), m, names, nil, &out, &errs)
		require.Equal(t, want, out.String(), args)
		if want != "" {
			require.Zero(t, status)
			continue
		}
		require.Equal(t, 1, status, args)
		require.Equal(t, 2, strings.Count(errs.String(), "\n"), args)
	}
	var out bytes.Buffer
	require.Zero(t, RunSave(nil, m, nil, nil, &out, &out))
}

func TestRestoreScript(t *testing.T) {
	m := newModel()
	play(m, "", "-A -f 9")
	var out, errs bytes.Buffer
	input := "# a comment\n-A -f 3\n#-A -f 4\n  # not at the start\n"
	require.Equal(t, 255, RunRestore([]string{"ipvsadm-restore"}, m, nil, strings.NewReader(input), &out, &errs))
	require.Equal(t, "Try `ipvsadm -h' or 'ipvsadm --help' for more information.\n", errs.String())
	require.Len(t, m.services, 1)
	require.EqualValues(t, 3, m.services[0].id.Mark)

	gone := newModel()
	gone.infoErr = ErrUnreachable
	errs.Reset()
	require.Equal(t, 2, RunRestore(nil, gone, nil, strings.NewReader(""), &out, &errs))
	require.Equal(t, 1, strings.Count(errs.String(), "initialize"))
}
