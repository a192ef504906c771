package api

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/control"
	"usvs/ipvs"
	"usvs/ipvsadm"
)

// ipvsadm cannot tell whether its backend is at the other end of a socket.
func TestIpvsadmThroughSocket(t *testing.T) {
	newControl := func() *control.Control {
		return control.New(control.Config{Clock: clock.NewSystem(), Rand: rand.New(rand.NewPCG(1, 2)), Servers: new(ipvs.Registry)})
	}
	near := newControl()
	far := newControl()
	remote := serve(t, far, Handlers{Iptables: far.Iptables})
	for _, line := range []string{
		"-A -t 10.9.0.1:80 -s wlc -p 60 -M 255.255.255.0",
		"-A -t 10.9.0.1:80 -s wlc",
		"-A -t [fd00:9::1]:443 -s mh -b flag-1,flag-2",
		"-A -u 10.9.0.1:5060 -s rr -o --pe sip -p 5",
		"-A -f 4294967295 -s sed",
		"-A -t 10.9.0.2:80 -s nosuch",
		"-a -t 10.9.0.1:80 -r 10.1.0.11:8080 -m -w 3 -x 10 -y 2",
		"-a -t 10.9.0.1:80 -r 10.1.0.12 -i --tun-type gue --tun-port 6080 --tun-remcsum",
		"-a -t 10.9.0.1:80 -r 224.0.0.1",
		"-a -t 10.9.0.1:80 -r 10.1.0.13 -x 1 -y 2",
		"-a -t [fd00:9::1]:443 -r [fd00:1::11]:443 -g -w 0",
		"-e -t 10.9.0.1:80 -r 10.1.0.99",
		"-d -t 10.9.0.9:80 -r 10.1.0.99",
		"-E -t 10.9.0.1:80 -s sh",
		"--set 100 0 30", "-L --timeout", "-L --daemon", "--start-daemon master", "--stop-daemon backup",
		"-Ln", "-Ln --stats", "-Ln --rate", "-Ln --thresholds", "-Ln --persistent-conn", "-Ln --tun-info", "-Lnc", "-Sn",
		"-Ln -t 10.9.0.1:80", "-Ln -t 10.9.0.9:80", "-Z", "-Z -t 10.9.0.9:80",
		"-D -t 10.9.0.9:80", "-C", "-Sn",
	} {
		words := append([]string{"ipvsadm"}, strings.Fields(line)...)
		run := func(b ipvsadm.Backend) [3]any {
			var stdout, stderr strings.Builder
			status := ipvsadm.Run(words, b, nil, strings.NewReader(""), &stdout, &stderr)
			return [3]any{status, stdout.String(), stderr.String()}
		}
		require.Equal(t, run(near), run(remote), line)
	}
	_, err := remote.Iptables(false, []string{"-t", "mangle", "-A", "PREROUTING", "-j", "NOSUCH"})
	var exit interface{ ExitStatus() int }
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 2, exit.ExitStatus())
	require.ErrorContains(t, err, "iptables: ")
}
