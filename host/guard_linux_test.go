package host

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"usvs/iproute"
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
	for _, dst := range []string{"10.50.0.0/16", "10.51.0.0/16"} {
		if err := a.AddRoute(iproute.Route{Dst: netip.MustParsePrefix(dst), Hops: []iproute.Hop{{Interface: "eth0"}}}); err != nil {
			return err
		}
	}
	if _, err := a.RemoveRoute(iproute.Route{Dst: netip.MustParsePrefix("10.50.0.0/16"), Hops: []iproute.Hop{{Interface: "eth0"}}}); err != nil {
		return err
	}
	packet, _ := hex.DecodeString(farewellText)
	a.Farewell("one", []Farewell{{Interface: "eth0", Packet: []byte("replaced")}})
	a.Farewell("one", []Farewell{{Interface: "eth0", Packet: packet}})
	a.Farewell("two", []Farewell{{Interface: "eth0", Packet: packet}})
	a.Farewell("two", nil)
	os.Stdout.WriteString("ready\n")
	time.Sleep(time.Hour)
	return err
}

func TestGuard(t *testing.T) {
	netnstest.NeedCommands(t, "ip")
	for _, killed := range []bool{false, true} {
		t.Run(fmt.Sprint("its own killed ", killed), func(t *testing.T) {
			netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) { testGuard(t, lab, killed) })
		})
	}
}

func testGuard(t *testing.T, lab *netnstest.Lab, killed bool) {
	peer := lab.Namespace("peer")
	lab.Veth(lab.Home, "eth0", peer, "eth0")
	lab.Home.AddAddr("eth0", "10.9.0.1/24")
	other := openVRRP(t, peer, VRRPEndpoint{Interface: "eth0", Protocol: ProtocolVRRP, Groups: []netip.Addr{group4}})
	addrs := func() string { return lab.Home.Run("ip", "-4", "-o", "address", "show", "dev", "eth0") }
	p := lab.Home.StartCmd(helper("guarded"))
	require.Eventually(t, func() bool { return strings.Contains(p.Output(), "ready") }, 10*time.Second, time.Millisecond, p.Output())
	lab.Home.AddAddr("eth0", "10.9.0.100/32") // somebody else's by now
	if killed {
		first := guardOf(p.Pid())
		require.NotZero(t, first)
		require.NoError(t, unix.Kill(first, unix.SIGKILL))
		require.Eventually(t, func() bool { is := guardOf(p.Pid()); return is != 0 && is != first }, 10*time.Second, time.Millisecond)
	}
	assert.Contains(t, addrs(), "10.9.0.101/32")
	routes := func() string { return lab.Home.Run("ip", "route") }
	assert.Contains(t, routes(), "10.51.0.0/16")
	lab.Home.Run("kill", "-9", strconv.Itoa(p.Pid()))
	require.Eventually(t, func() bool { return !strings.Contains(addrs(), "10.9.0.101") }, 10*time.Second, time.Millisecond)
	assert.Contains(t, addrs(), "10.9.0.100/32")
	assert.NotContains(t, routes(), "10.51.0.0/16")
	assert.Equal(t, farewellText, hex.EncodeToString(receive(t, "the farewell", other.got).packet))
	assert.Empty(t, other.got, "only what was not withdrawn")
}

// guardOf is the guard of a process, 0 if there is none.
func guardOf(pid int) int {
	var text []byte
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		more, _ := os.ReadFile(list)
		text = append(append(text, ' '), more...)
	}
	for _, word := range strings.Fields(string(text)) {
		line, _ := os.ReadFile("/proc/" + word + "/cmdline")
		stat, _ := os.ReadFile("/proc/" + word + "/stat")
		if id, err := strconv.Atoi(word); err == nil && strings.HasSuffix(string(line), "\x00"+GuardCommand+"\x00") && !strings.Contains(string(stat), ") Z ") {
			return id
		}
	}
	return 0
}

// A guard has to be told anew of more than a pipe holds.
func TestDuty(t *testing.T) {
	d := newDuty()
	want := newDuty()
	for i := range 2000 {
		a := Address{Interface: "eth0", Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}), 32)}
		d.learn(guardLine{Ours: true, Address: &a})
		name := fmt.Sprint("router ", i%300)
		farewells := []Farewell{{Interface: "eth0", Packet: []byte{byte(i)}}}
		d.learn(guardLine{Name: name, Farewells: farewells})
		if i%2 == 0 {
			d.learn(guardLine{Address: &a})
			d.learn(guardLine{Name: name})
			continue
		}
		want.ours[a], want.farewells[name] = true, farewells
	}
	text, err := d.lines()
	require.NoError(t, err)
	assert.Greater(t, len(text), 64<<10)
	assert.Equal(t, want, learnAll(bytes.NewReader(text)))
}

func TestRunGuardBadInput(t *testing.T) {
	defer signal.Reset() // runGuard ignores some, and so would processes of later tests
	for _, text := range []string{"", "\n", "{", "garbage", "{\"Ours\":false}\n"} {
		assert.NoError(t, runGuard(strings.NewReader(text)), text)
	}
	assert.True(t, signal.Ignored(unix.SIGPIPE), "whoever read what it says may be gone with the director")
}

// Guards that end at once return ever later, and are spoken of once.
func TestGuardsReturn(t *testing.T) {
	var r guardReturn
	var pauses []time.Duration
	for i := range 9 {
		pause, news := r.after(time.Duration(i) * time.Second)
		pauses = append(pauses, pause/time.Second)
		assert.Equal(t, i == 0, news, i)
	}
	assert.Equal(t, []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60}, pauses)
	pause, news := r.after(guardPauseMost)
	assert.Equal(t, guardPause, pause)
	assert.True(t, news)
}
