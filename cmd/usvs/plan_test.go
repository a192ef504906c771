package main

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/explain"
	"usvs/link/pcap"
	"usvs/wire"
)

// runTool runs usvs with arguments and returns what it prints on both outputs.
func runTool(t *testing.T, stdin string, args ...string) (out, errs string, status int) {
	t.Helper()
	root := newRoot()
	var o, e bytes.Buffer
	root.SetOut(&o)
	root.SetErr(&e)
	root.SetIn(strings.NewReader(stdin))
	root.SetArgs(args)
	err := root.Execute()
	var exit exitStatus
	switch {
	case errors.As(err, &exit):
		status = int(exit)
	case err != nil:
		status = 1
		e.WriteString(err.Error())
	}
	return o.String(), e.String(), status
}

func TestPlan(t *testing.T) {
	t.Chdir(t.TempDir())
	twoServers := strings.Replace(oneServer, "real_server 10.1.0.1 80 {\n}\n", "real_server 10.1.0.1 80 {\n}\nreal_server 10.1.0.2 80 {\n}\n", 1)
	for name, text := range map[string]string{
		"one.conf":   oneServer,
		"two.conf":   twoServers,
		"one.rules":  "-A -t 10.9.0.1:80 -s rr\n-a -t 10.9.0.1:80 -r 10.1.0.1 -g -w 1\n",
		"bad.rules":  "-A -t 10.9.0.1:80 -s rr\n-a -t 10.9.0.2:80 -r 10.1.0.1 -g\n",
		"bad.conf":   "foo\n",
		"wrong.conf": twoServers + "foo\n",
	} {
		require.NoError(t, os.WriteFile(name, []byte(text), 0o644))
	}
	captureTwo(t, "clients.pcapng")
	for _, c := range []struct {
		args   string
		status int
		out    string
		errs   string
	}{
		{"one.conf one.rules", 0, "Nothing changes.", ""},
		{"one.conf two.conf", planDiffers, "+ 10.1.0.2:80  50.0%", ""},
		{"two.conf one.rules --json", planDiffers, `"server": "10.1.0.2:80"`, ""},
		{"two.conf one.conf --pcap clients.pcapng", planDiffers, "1 the same server, 1 another", ""},
		{"one.conf bad.rules", planTrouble, "", "bad.rules:2:"},
		{"one.conf bad.conf", planTrouble, "", "bad.conf: no virtual_server and no vrrp_instance"},
		{"one.conf none.conf", planTrouble, "", "none.conf: no such file"},
		{"one.conf one.conf --pcap none.pcapng", planTrouble, "", "none.pcapng"},
		{"one.conf one.conf --pcap one.conf", planTrouble, "", "one.conf: pcap:"},
		{"one.conf", planTrouble, "", "usvs plan OLD NEW"},
		{"one.conf two.conf --nonsense", planTrouble, "", "usvs plan: unknown flag"},
		{"one.conf wrong.conf", planDiffers, "wrong.conf has errors and is compared without what is wrong; a reload refuses it", ""},
		{"wrong.conf one.conf", planDiffers, "wrong.conf has errors and is compared without what is wrong: usvs check", ""},
		{"--live --control @nobody one.conf", planTrouble, "", "No usvs director answers on @nobody"},
	} {
		t.Run(c.args, func(t *testing.T) {
			out, errs, status := runTool(t, "", append([]string{"plan"}, strings.Fields(c.args)...)...)
			require.Equal(t, c.status, status, "%s%s", out, errs)
			require.Contains(t, out, c.out)
			require.Contains(t, errs, c.errs)
		})
	}
}

// captureTwo writes a capture of two clients.
func captureTwo(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	require.NoError(t, err)
	defer f.Close()
	var seen []pcap.Seen
	for _, packet := range []string{"tcp 192.0.2.1:1000 > 10.9.0.1:80 S", "tcp 192.0.2.2:1000 > 10.9.0.1:80 S"} {
		p, err := explain.ParsePacket(packet)
		require.NoError(t, err)
		for _, frame := range p.Frames(wire.MAC{2, 0, 0, 0, 0, 1}, wire.MAC{2, 0, 0, 0, 0, 2}) {
			seen = append(seen, pcap.Seen{Data: frame.Bytes(), Len: frame.Len()})
		}
	}
	require.NoError(t, pcap.Write(f, []string{"eth0"}, seen))
}

func TestUnknownCommand(t *testing.T) {
	_, errs, status := runTool(t, "", "statsu")
	require.Equal(t, 1, status)
	require.Contains(t, errs, "did you mean usvs status?")
	_, errs, status = runTool(t, "", "frobnicate")
	require.Equal(t, 1, status)
	require.Contains(t, errs, "usvs --help lists them")
}
