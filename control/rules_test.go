package control

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
	"usvs/ipvsadm"
)

func (r *rig) load(text string) error { return r.Load("rules", strings.NewReader(text)) }

// saved is the state as ipvsadm -S -n shows it.
func (r *rig) saved() string {
	var out, stderr strings.Builder
	status := ipvsadm.Run([]string{"ipvsadm", "-S", "-n"}, r.Control, nil, nil, &out, &stderr)
	require.Zero(r.t, status, stderr.String())
	return out.String()
}

func lines(s ...string) string { return strings.Join(s, "\n") + "\n" }

func TestLoad(t *testing.T) {
	tests := []struct {
		name, text, want string
	}{
		{"save format", lines("-A -t 10.9.0.1:80 -s rr", "-a -t 10.9.0.1:80 -r 10.1.0.11:80 -g -w 1"),
			lines("-A -t 10.9.0.1:80 -s rr", "-a -t 10.9.0.1:80 -r 10.1.0.11:80 -g -w 1")},
		{"commands", lines("#!/bin/sh", "set -e", "VIP=10.9.0.1", "RS='10.1.0.11 -m'", "sudo /sbin/ipvsadm -C",
			"ipvsadm -A -t $VIP:80 \\", "  -s wlc # the site", `usvs ipvsadm -a -t "${VIP}:80" -r $RS -w 3; /usr/bin/sudo usvs ipvsadm -A -f 5`,
			"echo done"),
			lines("-A -t 10.9.0.1:80 -s wlc", "-a -t 10.9.0.1:80 -r 10.1.0.11:80 -m -w 3", "-A -f 5 -s wlc")},
		{"listings print nothing", lines("-A -t 10.9.0.1:80 -s rr", "ipvsadm -L -n", "ipvsadm -Z"), lines("-A -t 10.9.0.1:80 -s rr")},
		{"changed while being told", lines("-A -t 10.9.0.1:80 -s rr", "-a -t 10.9.0.1:80 -r 10.1.0.11", "-E -t 10.9.0.1:80 -s sh -p 5",
			"-e -t 10.9.0.1:80 -r 10.1.0.11 -w 9", "-a -t 10.9.0.1:80 -r 10.1.0.12", "-d -t 10.9.0.1:80 -r 10.1.0.12"),
			lines("-A -t 10.9.0.1:80 -s sh -p 5", "-a -t 10.9.0.1:80 -r 10.1.0.11:80 -g -w 9")},
		{"cleared", lines("-A -t 10.9.0.1:80 -s rr", "-C"), ""},
		{"nothing", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.must(r.load(tt.text))
			require.Equal(t, tt.want, r.saved())
			published := r.log.Len()
			r.must(r.load(tt.text))
			require.Equal(t, tt.want, r.saved())
			require.NotContains(t, r.log.String()[published:], "service", "the same file again changes nothing")
		})
	}
}

// What an error tells, and that it leaves everything as it was.
func TestLoadErrors(t *testing.T) {
	const start = "-A -t 10.9.0.9:80 -s rr\n-a -t 10.9.0.9:80 -r 10.1.0.11\n--set 100 20 30\n"
	ok := "-A -t 10.9.0.1:80 -s rr\n"
	tests := []struct{ name, text, want string }{
		{"unknown scheduler", ok + "-A -t 10.9.0.2:80 -s nosuch", "rules:2: Scheduler or persistence engine not found"},
		{"twice", ok + "\n" + ok, "rules:3: Service already exists"},
		{"usage", ok + "-a -t 10.9.0.1:80", "rules:2: You need to supply the 'real-server' option for the 'add-server' command"},
		{"unknown option", "ipvsadm --nosuch", "rules:1: "},
		{"multicast", ok + "-a -t 10.9.0.1:80 -r 224.0.0.1", "rules:2: Invalid operation.  Possibly wrong module version, address not unicast, ..."},
		{"daemon", "ipvsadm --start-daemon master\nipvsadm --start-daemon master", "rules:2: Daemon has already run"},
		{"shell", ok + "\nfor i in 1 2 3; do", "rules:3: `for' is not supported in a rules file; it may hold ipvsadm, iptables, ip6tables and sysctl commands, NAME=value and comments"},
		{"condition", "if true; then", "rules:1: `if' is not supported"},
		{"unknown setting", ok + "sysctl -w net.ipv4.vs.nosuch=1", "rules:2: sysctl: cannot stat /proc/sys/net/ipv4/vs/nosuch"},
		{"setting out of range", "sysctl -qw net.ipv4.vs.drop_entry=9", `rules:1: drop_entry: "9" is out of range, it takes 0 to 3`},
		{"setting without value", "sysctl -w net.ipv4.vs.drop_entry", "rules:1: sysctl: command line(0): invalid syntax"},
		{"settings from a file", "sysctl -p /etc/lvs.conf", "rules:1: sysctl: settings are not read from files"},
		{"unknown setting, echo", "echo 1 > /proc/sys/net/ipv4/vs/nosuch", `rules:1: there is no setting "nosuch"`},
		{"setting out of range, echo", "echo > /proc/sys/net/ipv4/vs/drop_entry", "rules:1: drop_entry: no value"},
		{"other than echo", "cat x > /proc/sys/net/ipv4/vs/drop_entry", "rules:1: `cat' cannot write to"},
		{"ifconfig", "/sbin/ifconfig eth0:0 10.9.0.1 up", "rules:1: `/sbin/ifconfig' is not supported"},
		{"redirected echo", "echo 1 > /tmp/x", "rules:1: `>' of the shell is supported only once and to a file below /proc/sys/"},
		{"positional parameters", "set a b", "rules:1: `set' is not supported"},
		{"variable", "ipvsadm -A -t $VIP:80", "rules:1: variable VIP is not set"},
		{"variable for a command", "A=1 ipvsadm -C", "rules:1: `A=1' is not supported"},
		{"saving wrapper", "ipvsadm-restore", "rules:1: `ipvsadm-restore' is not supported"},
		{"other program of usvs", "usvs run", "rules:1: `usvs' is not supported"},
		{"unterminated", ok + "echo 'a", "rules:2: unterminated '"},
		{"late error", ok + strings.Repeat("\n", 50) + "-d -t 10.9.0.1:80 -r 10.1.0.11", "rules:52: No such destination"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.must(r.load(start))
			before, snap := r.saved(), r.Snapshot()
			err := r.load(tt.text)
			require.ErrorContains(t, err, tt.want)
			require.Equal(t, before, r.saved())
			require.Same(t, snap, r.Snapshot(), "nothing was published")
			to, _ := r.Timeouts()
			require.Equal(t, ipvs.Timeouts{TCP: 100, TCPFin: 20, UDP: 30}, to)
		})
	}
}

// Only differences are applied: what stays keeps its object, its counters and
// its scheduler's state; each difference is logged.
func TestLoadDifferences(t *testing.T) {
	r := newRig(t)
	r.must(r.load(lines(
		"-A -t 10.9.0.1:80 -s rr",
		"-a -t 10.9.0.1:80 -r 10.1.0.11", "-a -t 10.9.0.1:80 -r 10.1.0.12", "-a -t 10.9.0.1:80 -r 10.1.0.13",
		"-A -t 10.9.0.2:80 -s rr",
		"-A -f 7 -s rr", "-a -f 7 -r 10.1.0.11")))
	a, b := r.real(web, rsA), r.real(web, rsB)
	a.Bind(true)
	require.Equal(t, []byte{13, 12}, r.pick(web, 2))
	svc := r.Snapshot().Services[0]
	r.log.Reset()
	published := r.published

	r.must(r.load(lines(
		"-A -f 8 -s wrr",
		"-A -f 7 -s rr -p 5", "-a -f 7 -r 10.1.0.11 -w 4",
		"-A -t 10.9.0.1:80 -s rr",
		"-a -t 10.9.0.1:80 -r 10.1.0.14", "-a -t 10.9.0.1:80 -r 10.1.0.15",
		"-a -t 10.9.0.1:80 -r 10.1.0.12", "-a -t 10.9.0.1:80 -r 10.1.0.11")))
	require.Equal(t, published+1, r.published, "one snapshot")
	require.Same(t, a, r.real(web, rsA))
	require.Same(t, b, r.real(web, rsB))
	require.Same(t, svc.Picker, r.Snapshot().Services[0].Picker)
	require.Equal(t, uint32(1), r.entry(web).Servers[3].Active)
	require.Equal(t, []string{"10.1.0.15:80", "10.1.0.14:80", "10.1.0.12:80", "10.1.0.11:80"}, r.order(web))
	require.Equal(t, []byte{11, 15}, r.pick(web, 2), "rr goes on behind the server it picked last")
	require.Equal(t, lines(
		`msg="service removed" service="TCP 10.9.0.2:80"`,
		`msg="service added" service="FWM 8"`,
		`msg="service changed" service="FWM 7"`,
		`msg="server changed" service="FWM 7" server=10.1.0.11:0`,
		`msg="server removed" service="TCP 10.9.0.1:80" server=10.1.0.13:80`,
		`msg="server added" service="TCP 10.9.0.1:80" server=10.1.0.14:80`,
		`msg="server added" service="TCP 10.9.0.1:80" server=10.1.0.15:80`), r.log.String())

	r.log.Reset()
	r.must(r.load(""))
	require.Equal(t, "", r.saved())
	require.False(t, a.Available())
	r.must(r.load(lines("-A -t 10.9.0.1:80 -s rr", "-a -t 10.9.0.1:80 -r 10.1.0.11")))
	require.Same(t, a, r.real(web, rsA), "back from the trash")
	require.Equal(t, uint32(1), r.entry(web).Servers[0].Active)
}

func TestLoadTimeouts(t *testing.T) {
	r := newRig(t)
	r.must(r.load("--set 100 0 30"))
	to, _ := r.Timeouts()
	require.Equal(t, ipvs.Timeouts{TCP: 100, TCPFin: 120, UDP: 30}, to)
	r.must(r.load("-A -t 10.9.0.1:80 -s rr"))
	to, _ = r.Timeouts()
	require.Equal(t, ipvs.Timeouts{TCP: 100, TCPFin: 120, UDP: 30}, to, "what a file does not mention stays")
}

// Thresholds come through, and ignored lines are told of.
func TestLoadDetails(t *testing.T) {
	r := newRig(t)
	r.must(r.load(lines("set -e", "echo starting ...", "-A -t 10.9.0.1:80 -s rr", "-a -t 10.9.0.1:80 -r 10.1.0.11 -x 10 -y 2")))
	spec := r.entry(web).Servers[0].Spec
	require.Equal(t, [2]uint32{10, 2}, [2]uint32{spec.UpperThreshold, spec.LowerThreshold})
	require.Contains(t, r.log.String(), `msg="line of the rules file ignored" file=rules line=1 command="set -e"`)
	require.Contains(t, r.log.String(), `line=2 command="echo starting ..."`)
}

// A scheduler that cannot take over the servers that stay is an error that
// names the service; the rest of the file is applied.
func TestLoadBindFails(t *testing.T) {
	r := newRig(t)
	var b strings.Builder
	b.WriteString("-A -t 10.9.0.1:80 -s SCHED\n")
	for i := range 4094 {
		fmt.Fprintf(&b, "-a -t 10.9.0.1:80 -r 10.1.%d.%d\n", 1+i/200, 1+i%200)
	}
	r.must(r.load(strings.Replace(b.String(), "SCHED", "rr", 1)))
	err := r.load(strings.Replace(b.String(), "SCHED", "mh", 1) + "-A -t 10.9.0.2:80 -s rr\n")
	require.ErrorIs(t, err, ipvs.ErrInvalid)
	require.ErrorContains(t, err, "TCP 10.9.0.1:80")
	require.Len(t, r.Snapshot().Services, 2)
}

func TestLoadUnreadable(t *testing.T) {
	r := newRig(t)
	r.must(r.load("-A -t 10.9.0.1:80 -s rr"))
	err := r.Load("rules", iotest.ErrReader(errors.New("the disk is gone")))
	require.EqualError(t, err, "rules: the disk is gone")
	require.NotEmpty(t, r.saved())
}
