package control

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func (r *rig) iptables(line string) (string, error) {
	name, args, _ := strings.Cut(line, " ")
	return r.Iptables(name == "ip6tables", strings.Fields(args))
}

func TestIptables(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Resolver = book{} })
	require.Nil(t, r.Snapshot().Marks4)
	for _, line := range []string{
		"iptables -t mangle -A PREROUTING -d www.example.test -p tcp --dport http -j MARK --set-mark 1",
		"iptables -t mangle -A PREROUTING -d 10.9.0.2 -p udp --dport domain -j MARK --set-mark 2",
		"ip6tables -t mangle -A PREROUTING -d fd00::1 -j MARK --set-mark 3",
	} {
		out, err := r.iptables(line)
		require.NoError(t, err)
		require.Empty(t, out)
	}
	require.Equal(t, 2, r.Snapshot().Marks4.Len())
	require.Equal(t, 1, r.Snapshot().Marks6.Len())
	published := r.published
	out, err := r.iptables("iptables -t mangle -S PREROUTING")
	require.NoError(t, err)
	require.Equal(t, lines("-P PREROUTING ACCEPT",
		"-A PREROUTING -d 10.9.0.1/32 -p tcp -m tcp --dport 80 -j MARK --set-xmark 0x1/0xffffffff",
		"-A PREROUTING -d 10.9.0.2/32 -p udp -m udp --dport 53 -j MARK --set-xmark 0x2/0xffffffff"), out)
	out, err = r.iptables("iptables -t mangle -L PREROUTING")
	require.NoError(t, err)
	require.Contains(t, out, "tcp dpt:http")
	require.Contains(t, out, "udp dpt:domain")
	require.Equal(t, published, r.published, "listing publishes nothing")
	_, err = r.iptables("iptables -t mangle -F")
	require.NoError(t, err)
	require.Nil(t, r.Snapshot().Marks4)
}

func TestIptablesErrors(t *testing.T) {
	r := newRig(t)
	for _, tt := range []struct {
		line, text string
		status     int
	}{
		{"iptables -t mangle -D PREROUTING 1", "iptables: Index of deletion too big.", 1},
		{"ip6tables -t mangle -D PREROUTING -d fd00::1 -j ACCEPT", "ip6tables: Bad rule (does a matching rule exist in that chain?).", 1},
		{"iptables -t mangle -A PREROUTING -d nosuch -j ACCEPT", "iptables: host/network `nosuch' not found\nTry `iptables -h' or 'iptables --help' for more information.", 2},
	} {
		out, err := r.iptables(tt.line)
		require.Empty(t, out)
		var refused *IptablesError
		require.True(t, errors.As(err, &refused))
		require.Contains(t, refused.Error(), strings.SplitN(tt.text, ":", 2)[0])
		require.Equal(t, tt.text, refused.Error())
		require.Equal(t, tt.status, refused.ExitStatus())
	}
}

func TestLoadMarks(t *testing.T) {
	const (
		one   = "iptables -t mangle -A PREROUTING -d 10.9.0.1 -j MARK --set-mark 1\n"
		two   = "/sbin/iptables -t mangle -A PREROUTING -d 10.9.0.2 -j MARK --set-mark 2\n"
		three = "ip6tables -t mangle -A PREROUTING -d fd00::3 -j MARK --set-mark 3\n"
	)
	r := newRig(t)
	r.must(r.load("iptables -t mangle -F\n" + one + two + three))
	old := r.Snapshot()
	require.Equal(t, 2, old.Marks4.Len())
	r.log.Reset()
	r.must(r.load(one + two + three))
	require.Same(t, old.Marks4, r.Snapshot().Marks4, "rules that stay keep their counters")
	require.Empty(t, r.log.String())
	r.must(r.load(one + three + three))
	require.Equal(t, lines(
		`msg="mark rule removed" rule="iptables -A PREROUTING -d 10.9.0.2/32 -j MARK --set-xmark 0x2/0xffffffff"`,
		`msg="mark rule added" rule="ip6tables -A PREROUTING -d fd00::3/128 -j MARK --set-xmark 0x3/0xffffffff"`), r.log.String())
	require.Equal(t, 1, r.Snapshot().Marks4.Len())
	require.Equal(t, 2, r.Snapshot().Marks6.Len())

	before := r.Snapshot()
	err := r.load(one + "iptables -t mangle -A PREROUTING -j NOSUCH")
	require.ErrorContains(t, err, "rules:2: iptables")
	require.NotContains(t, err.Error(), "\n")
	err = r.load("iptables -t nat -A POSTROUTING -j MASQUERADE")
	require.ErrorContains(t, err, "rules:1: iptables")
	require.Same(t, before, r.Snapshot())
}
