package host

import (
	"encoding/hex"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link/netnstest"
)

// farewellText is an advert of 10.9.0.1 with priority 0.
const farewellText = "45c0002c00090000ff70d07c0a090001e0000012" + "213300020101668c0a0900640a0900653131313100000000"

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
	packet, _ := hex.DecodeString(farewellText)
	a.Farewell("one", Farewell{Interface: "eth0", Packet: []byte("replaced"), Addrs: []netip.Addr{netip.MustParseAddr("10.9.0.101")}})
	a.Farewell("one", Farewell{Interface: "eth0", Packet: packet, Addrs: []netip.Addr{netip.MustParseAddr("10.9.0.101")}})
	a.Farewell("two", Farewell{Interface: "eth0", Packet: packet, Addrs: []netip.Addr{netip.MustParseAddr("10.9.0.100")}})
	os.Stdout.WriteString("ready\n")
	time.Sleep(time.Hour)
	return err
}

func TestGuard(t *testing.T) {
	netnstest.NeedCommands(t, "ip")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		peer := lab.Namespace("peer")
		lab.Veth(lab.Home, "eth0", peer, "eth0")
		lab.Home.AddAddr("eth0", "10.9.0.1/24")
		other := openVRRP(t, peer, VRRPEndpoint{Interface: "eth0", Protocol: ProtocolVRRP, Groups: []netip.Addr{group4}})
		addrs := func() string { return lab.Home.Run("ip", "-4", "-o", "address", "show", "dev", "eth0") }
		p := lab.Home.StartCmd(helper("guarded"))
		require.Eventually(t, func() bool { return strings.Contains(p.Output(), "ready") }, 10*time.Second, time.Millisecond, p.Output())
		lab.Home.AddAddr("eth0", "10.9.0.100/32") // somebody else's by now
		assert.Contains(t, addrs(), "10.9.0.101/32")
		lab.Home.Run("kill", "-9", strconv.Itoa(p.Pid()))
		require.Eventually(t, func() bool { return !strings.Contains(addrs(), "10.9.0.101") }, 10*time.Second, time.Millisecond)
		assert.Contains(t, addrs(), "10.9.0.100/32")
		assert.Equal(t, farewellText, hex.EncodeToString(receive(t, "the farewell", other.got).packet))
		assert.Empty(t, other.got, "only what is about an address that was still ours")
	})
}

func TestRunGuardBadInput(t *testing.T) {
	defer signal.Reset() // RunGuard ignores some, and so would processes of later tests
	for _, text := range []string{"", "\n", "{", "garbage", "{\"Ours\":false}\n"} {
		assert.NoError(t, RunGuard(strings.NewReader(text)), text)
	}
}
