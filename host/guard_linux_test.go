package host

import (
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link/netnstest"
)

// helpGuarded adds two addresses, takes one off, says so and waits to be killed.
func helpGuarded() error {
	a, err := NewAddresses(func(Address) {})
	if err != nil {
		return err
	}
	if err := a.Guard(); err != nil {
		return err
	}
	for _, addr := range []string{"10.9.0.100/32", "10.9.0.101/32"} {
		if err := a.Add(Address{Interface: "eth0", Prefix: netip.MustParsePrefix(addr)}); err != nil {
			return err
		}
	}
	_, err = a.Remove(Address{Interface: "eth0", Prefix: netip.MustParsePrefix("10.9.0.100/32")})
	os.Stdout.WriteString("ready\n")
	time.Sleep(time.Hour)
	return err
}

func TestGuard(t *testing.T) {
	netnstest.NeedCommands(t, "ip")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		lab.Veth(lab.Home, "eth0", lab.Namespace("peer"), "eth0")
		addrs := func() string { return lab.Home.Run("ip", "-4", "-o", "address", "show", "dev", "eth0") }
		p := lab.Home.StartCmd(helper("guarded"))
		require.Eventually(t, func() bool { return strings.Contains(p.Output(), "ready") }, 10*time.Second, time.Millisecond, p.Output())
		lab.Home.AddAddr("eth0", "10.9.0.100/32") // somebody else's by now
		assert.Contains(t, addrs(), "10.9.0.101/32")
		lab.Home.Run("kill", "-9", strconv.Itoa(p.Pid()))
		require.Eventually(t, func() bool { return !strings.Contains(addrs(), "10.9.0.101") }, 10*time.Second, time.Millisecond)
		assert.Contains(t, addrs(), "10.9.0.100/32")
	})
}

func TestRunGuardBadInput(t *testing.T) {
	for _, text := range []string{"", "\n", "{", "garbage", "{\"Ours\":false}\n"} {
		assert.NoError(t, RunGuard(strings.NewReader(text)), text)
	}
}
