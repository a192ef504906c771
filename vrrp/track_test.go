package vrrp

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestEffects(t *testing.T) {
	for _, c := range []struct {
		weight   int
		reverse  bool
		up, down effect
	}{
		{0, false, effect{}, effect{fault: true}},
		{0, true, effect{fault: true}, effect{}},
		{10, false, effect{weight: 10}, effect{}},
		{-10, false, effect{}, effect{weight: -10}},
		{10, true, effect{weight: -10}, effect{}},
		{-10, true, effect{}, effect{weight: 10}},
	} {
		require.Equal(t, c.up, effectOf(c.weight, c.reverse, true), "%+v up", c)
		require.Equal(t, c.down, effectOf(c.weight, c.reverse, false), "%+v down", c)
	}
	for _, c := range []struct {
		weight  int
		reverse bool
		value   int
		want    effect
	}{
		{0, false, 0, effect{}},
		{0, false, 1, effect{fault: true}},
		{0, true, 0, effect{fault: true}},
		{0, true, -1, effect{}},
		{1, false, 20, effect{weight: 20}},
		{1, true, 20, effect{weight: -20}},
		{2, false, -126, effect{weight: -252}},
		{2, false, -127, effect{fault: true}},
		{2, false, 1 << 60, effect{weight: 253}},
		{-2147483647, false, 2147483647, effect{fault: true}},
		{2147483647, false, 2147483647, effect{weight: 253}},
	} {
		require.Equal(t, c.want, effectOfFile(c.weight, c.reverse, c.value), "%+v", c)
	}
}

// tracked is one instance with priority 100 that tracks one of everything.
func tracked(t *testing.T, weight int) *rig {
	r := &rig{t: t, now: second, node: &node{recorder: newRecorder()}}
	i := basic(100)
	i.NotifyPriorities = true
	i.Tracks = Tracks{
		Interfaces: []Track{{Name: "eth1", Weight: weight, Weighted: true}},
		Scripts:    []Track{{Name: "chk"}},
		Processes:  []Track{{Name: "nginx"}},
		Files:      []Track{{Name: "load"}},
	}
	r.cfg = one(i)
	r.cfg.Scripts = []Script{{Name: "chk", Weight: weight}}
	r.cfg.Processes = []Process{{Name: "nginx", Weight: weight, Quorum: 2}}
	r.cfg.Files = []File{{Name: "load", Weight: weight}}
	r.Router = New(&r.cfg, r.recorder)
	r.face(true)
	r.eth1(true)
	r.SetProcess(r.now, "nginx", 2)
	r.Start(r.now)
	r.Tick(r.now)
	r.script(0)
	r.took()
	return r
}

func (r *rig) eth1(up bool) { r.SetInterface(r.now, Interface{Name: "eth1", Up: up}) }

func TestWeightsAdd(t *testing.T) {
	r := tracked(t, -20)
	prio := func() int { return r.instances[0].prio }
	require.Equal(t, 100, prio())
	deadline := r.instances[0].deadline
	r.eth1(false)
	require.Equal(t, []string{
		"log Netlink reports eth1 down",
		"log (VI_1) Changing effective priority from 100 to 80",
		`notify INSTANCE "VI_1" BACKUP_PRIORITY 80`,
	}, r.took())
	require.Equal(t, 78125*time.Microsecond, r.instances[0].deadline.Sub(deadline), "the deadline moves with the skew")
	r.script(1)
	require.Equal(t, 60, prio())
	r.SetProcess(r.now, "nginx", 1)
	require.Equal(t, 40, prio())
	r.SetFile(r.now, "load", 1)
	require.Equal(t, 20, prio())
	r.SetFile(r.now, "load", 3)
	require.Equal(t, 1, prio(), "not below 1")
	r.SetFile(r.now, "load", -12)
	require.Equal(t, 254, prio(), "not above 254")
	r.SetFile(r.now, "load", 0)
	r.SetProcess(r.now, "nginx", 3)
	r.script(0)
	r.eth1(true)
	require.Equal(t, 100, prio())
	require.Equal(t, Backup, r.state())
}

func TestWithoutWeightAnythingIsAFault(t *testing.T) {
	r := tracked(t, 0)
	require.Equal(t, Backup, r.state())
	r.eth1(false)
	r.SetProcess(r.now, "nginx", 1)
	r.SetFile(r.now, "load", 1)
	require.Equal(t, Fault, r.state())
	require.Equal(t, []string{"interface eth1 down", "process nginx", "tracked file load has status -254"}, r.Status().Instances[0].Faults)
	r.eth1(true)
	r.SetProcess(r.now, "nginx", 2)
	require.Equal(t, Fault, r.state(), "until the last is gone")
	r.SetFile(r.now, "load", 0)
	require.Equal(t, Backup, r.state())
}

func TestTheOwnersPriorityDoesNotChange(t *testing.T) {
	i := basic(255)
	i.Master = true
	i.Tracks.Interfaces = []Track{{Name: "eth1", Weight: -20, Weighted: true}}
	l := newLAN(t)
	a := l.add(one(i))
	l.run(time.Second)
	require.Equal(t, 255, a.instances[0].prio)
}

func TestDontTrackPrimary(t *testing.T) {
	r := newRig(t, Backup, func(i *Instance) { i.DontTrackPrimary = true })
	r.face(false)
	require.Equal(t, Backup, r.state())
}

func TestSourceAddress(t *testing.T) {
	r := newRig(t, Backup, nil)
	i := r.instances[0]
	require.Equal(t, "10.9.0.5", i.source.String())
	f := faceOf(5)
	f.Addrs = []netip.Prefix{netip.MustParsePrefix("10.9.0.100/32")} // a VIP is no source
	r.SetInterface(r.now, f)
	require.Equal(t, Fault, r.state())
	require.Equal(t, []string{"no IPv4 address for interface"}, i.faults)
	r.face(true)
	require.Equal(t, Backup, r.state())

	r = newRig(t, Backup, func(i *Instance) { i.Source, i.TrackSource = netip.MustParseAddr("10.9.0.5"), true })
	f.Addrs = nil
	r.SetInterface(r.now, f)
	require.Equal(t, Fault, r.state())
}

// Unicast needs no interface: the one with the source address carries the VIPs.
func TestUnicastWithoutAnInterface(t *testing.T) {
	r := newRig(t, Master, func(i *Instance) {
		i.Interface, i.Source, i.Peers = "", netip.MustParseAddr("10.9.0.5"), []Peer{{Addr: netip.MustParseAddr("10.9.0.4")}}
	})
	require.Equal(t, "", r.sent[0].iface)
	r.AddressLost(r.now, "eth7", netip.MustParseAddr("10.9.0.101"))
	require.Equal(t, Master, r.state())
	r.AddressLost(r.now, "eth0", netip.MustParseAddr("10.9.0.101"))
	require.Equal(t, Backup, r.state())
	r.now = r.instances[0].deadline
	r.took()
	r.Tick(r.now)
	require.Contains(t, r.took(), "announce 10.9.0.101 on eth0")
	r.SetInterface(r.now, Interface{Name: "eth0", Up: true})
	r.now = r.now.Add(5 * time.Second)
	r.took()
	r.Tick(r.now)
	require.Equal(t, "MASTER, advert 150, wait interval", r.outcome(), "nowhere to announce")
}

func TestUnicastFaultNoPeer(t *testing.T) {
	i := basic(100)
	i.Unicast, i.UnicastFaultNoPeer = true, true
	l := newLAN(t)
	require.Equal(t, Fault, l.add(one(i)).state())
	i.UnicastFaultNoPeer = false
	require.Equal(t, Backup, l.add(one(i)).state())
}

// A unicast instance lets its peers know its address when it is back.
func TestUnicastAnnouncesItsSource(t *testing.T) {
	r := newRig(t, Backup, func(i *Instance) {
		i.Peers = []Peer{{Addr: netip.MustParseAddr("10.9.0.4")}}
	})
	r.face(false)
	r.took()
	r.face(true)
	require.Contains(t, r.took(), "announce 10.9.0.5 on eth0")
}

func TestDebounce(t *testing.T) {
	r := newRig(t, Backup, nil)
	r.Router.cfg.Debounces = []Debounce{{Interface: "eth0", Down: time.Second, Up: 2 * time.Second}}
	r.face(false)
	require.Equal(t, Backup, r.state())
	r.now = r.now.Add(500 * time.Millisecond)
	r.face(true)
	r.now = r.now.Add(2 * time.Second)
	r.Tick(r.now)
	require.Equal(t, Backup, r.state(), "it was down too short")
	r.face(false)
	next := r.Tick(r.now)
	require.LessOrEqual(t, next, r.now.Add(time.Second))
	r.now = r.now.Add(time.Second)
	r.Tick(r.now)
	require.Equal(t, Fault, r.state())
	r.face(true)
	r.now = r.now.Add(1999 * time.Millisecond)
	r.Tick(r.now)
	require.Equal(t, Fault, r.state())
	r.now = r.now.Add(time.Millisecond)
	r.Tick(r.now)
	require.Equal(t, Backup, r.state())
}

func TestProcesses(t *testing.T) {
	r := tracked(t, 0)
	p := r.Router.process("nginx")
	p.TerminateDelay, p.ForkDelay = time.Second, 2*time.Second
	p.HasMax, p.QuorumMax = true, 3
	r.SetProcess(r.now, "nginx", 0)
	require.Contains(t, r.took(), "log Process nginx, number of current processes changed from 2 to 0, quorum down")
	require.Equal(t, Backup, r.state())
	r.SetProcess(r.now, "nginx", 2)
	r.now = r.now.Add(time.Second)
	r.Tick(r.now)
	require.Equal(t, Backup, r.state(), "restarted in time")
	r.SetProcess(r.now, "nginx", 0)
	r.now = r.now.Add(time.Second)
	r.Tick(r.now)
	require.Equal(t, Fault, r.state())
	r.SetProcess(r.now, "nginx", 2)
	r.now = r.now.Add(2 * time.Second)
	r.Tick(r.now)
	require.Equal(t, Backup, r.state())
	r.SetProcess(r.now, "nginx", 4)
	r.now = r.now.Add(2 * time.Second)
	r.Tick(r.now)
	require.Equal(t, Fault, r.state(), "more than quorum_max")
	r.SetProcess(r.now, "nobody", 4)
	r.SetFile(r.now, "nobody", 4)
	r.SetScript(r.now, "nobody", ScriptResult{})
}

func TestScriptsRiseAndFall(t *testing.T) {
	for _, c := range []struct {
		name       string
		rise, fall int
		initFail   bool
		runs, up   string // results, and what is seen after each
	}{
		{"one decides", 1, 1, false, "+-+-", "+-+-"},
		{"the first success decides", 3, 3, false, "+--+---+++", "++++++---+"},
		{"the first failure decides", 3, 3, false, "-+++", "---+"},
		{"init_fail wants all", 3, 3, true, "++-+++", "-----+"},
		{"a success makes good", 2, 3, false, "+--+--+---", "+++++++++-"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := Script{Rise: c.rise, Fall: c.fall, InitFail: c.initFail}
			cfg.fill()
			s := newScript(&cfg)
			var got []byte
			for _, run := range c.runs {
				was, known := s.up(), s.known()
				changed := s.count(run == '+')
				require.Equal(t, !known || was != s.up(), changed)
				got = append(got, "-+"[b2i(s.up())])
			}
			require.Equal(t, c.up, string(got))
		})
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestScriptsRunOnTime(t *testing.T) {
	i := basic(100)
	i.DownTimerAdverts = 100
	i.Tracks.Scripts = []Track{{Name: "a"}, {Name: "b", Weight: 10, Weighted: true}}
	cfg := one(i)
	cfg.Scripts = []Script{{Name: "a", Interval: 2 * time.Second, Fall: 2}, {Name: "b", Interval: 3 * time.Second}}
	fx := newRecorder()
	r := New(&cfg, fx)
	r.SetInterface(second, faceOf(1))
	r.Start(second)
	require.Equal(t, second*3, r.Tick(second))
	require.Equal(t, []string{"a", "b"}, fx.runs)
	fx.took()
	r.SetScript(second, "a", ScriptResult{})
	require.Equal(t, []string{
		"log VRRP_Script(a) succeeded", "log (VI_1) Entering BACKUP STATE", `notify INSTANCE "VI_1" BACKUP 100`,
	}, fx.took(), "b does not decide")
	r.SetScript(second, "a", ScriptResult{Status: 1})
	require.Empty(t, fx.took(), "nothing was run")
	r.Tick(second * 3)
	r.SetScript(second*3, "b", ScriptResult{})
	require.Contains(t, fx.took(), "log (VI_1) Changing effective priority from 100 to 110")
	r.Tick(second * 4)
	require.Equal(t, []string{"a", "b", "a", "b"}, fx.runs)
	r.SetScript(second*4, "a", ScriptResult{Status: 3})
	r.Tick(second * 5)
	r.SetScript(second*5, "a", ScriptResult{TimedOut: true})
	require.Equal(t, []string{
		"run b", "log Script `a` now returning 3", "run a", "log VRRP_Script(a) timed_out",
		"log (VI_1) Entering FAULT STATE", `notify INSTANCE "VI_1" FAULT 110`,
	}, fx.took())
	r.Tick(second * 7)
	r.Tick(second * 9)
	require.Contains(t, fx.took(), "log Track script a is already running, expect idle - skipping run")
	r.SetScript(second*9, "b", ScriptResult{Signal: 9})
	require.Contains(t, fx.took(), "log VRRP_Script(b) failed (due to signal 9)")
}

func TestFaultsAtTheStartAreNamed(t *testing.T) {
	i := basic(100)
	i.Tracks = Tracks{Interfaces: []Track{{Name: "eth1"}}, Scripts: []Track{{Name: "chk"}}, Files: []Track{{Name: "tf"}}}
	cfg := one(i)
	cfg.Scripts = []Script{{Name: "chk", InitFail: true}}
	cfg.Files = []File{{Name: "tf"}}
	fx := newRecorder()
	r := New(&cfg, fx)
	r.SetFile(second, "tf", 5)
	r.Start(second)
	require.Equal(t, []string{
		"(VI_1) removing VIPs.",
		"(VI_1): entering FAULT state (interface eth0 down)",
		"(VI_1): entering FAULT state (interface eth1 down)",
		"(VI_1): entering FAULT state due to script chk",
		"(VI_1): entering FAULT state (tracked file tf has status -254)",
		"(VI_1): entering FAULT state (no IPv4 address for interface)",
		"(VI_1) entering FAULT state",
	}, fx.log)
}

// Addresses that do not fit a packet come and go without being advertised. The
// limits are keepalived's.
func TestMoreAddressesThanFit(t *testing.T) {
	for _, c := range []struct{ version, mtu, want int }{{2, 0, 255}, {3, 1500, 255}, {2, 1000, 237}, {3, 1000, 239}, {6, 1500, 89}, {6, 1000, 58}, {2, 68, 4}, {6, 20, 1}} {
		i := basic(100)
		i.Addresses = nil
		i.Version = min(c.version, 3)
		i.IPv6 = c.version == 6
		for n := range 400 {
			a := netip.AddrFrom4([4]byte{10, 8, byte(n >> 8), byte(n)})
			if i.IPv6 {
				a = netip.AddrFrom16([16]byte{0xfe, 0x80, 8: 9, 14: byte(n >> 8), 15: byte(n)})
			}
			i.Addresses = append(i.Addresses, Address{Prefix: netip.PrefixFrom(a, a.BitLen())})
		}
		cfg, fx := one(i), newRecorder()
		r := New(&cfg, fx)
		f := faceOf(1)
		f.MTU = c.mtu
		r.SetInterface(second, f)
		r.Start(second)
		require.Len(t, r.instances[0].Addresses, c.want)
		require.Len(t, r.instances[0].Excluded, 400-c.want)
		require.Contains(t, fx.log[0], "(VI_1) Number of VIPs (400) exceeds maximum/space available in packet (max ")
		r.Reload(second, &cfg)
		require.Len(t, r.instances[0].Addresses, c.want)
		r.Tick(second * 10)
		require.Equal(t, Master, r.instances[0].state)
		require.Len(t, fx.owns["VI_1"], 400)
	}
}

// waitingForScript is an instance whose script has not run yet.
func waitingForScript(t *testing.T, up bool) *rig {
	r := &rig{t: t, now: second, node: &node{recorder: newRecorder()}}
	i := basic(100)
	i.Tracks.Scripts = []Track{{Name: "chk"}}
	r.cfg = one(i)
	r.cfg.Scripts = []Script{{Name: "chk", Interval: 10 * time.Second}}
	r.Router = New(&r.cfg, r.recorder)
	face := faceOf(1)
	face.Up = up
	r.SetInterface(r.now, face)
	r.Start(r.now)
	r.Tick(r.now)
	return r
}

func TestAnInterfaceThatComesUpBeforeTheScriptHasRun(t *testing.T) {
	r := waitingForScript(t, false)
	require.Equal(t, Fault, r.state())
	r.SetInterface(r.now, faceOf(1))
	require.Equal(t, Fault, r.state(), "the script decides")
	r.SetScript(r.now, "chk", ScriptResult{})
	require.Equal(t, Backup, r.state())
}

func TestAnInterfaceThatGoesAndLosesItsAddress(t *testing.T) {
	for _, six := range []bool{false, true} {
		i := basic(100)
		if i.IPv6 = six; six {
			i.Addresses = prefixes("fe80::1", "2001:db8::1")
		}
		l := newLAN(t)
		n := l.add(one(i))
		n.next = 0
		l.run(10 * time.Second)
		require.Equal(t, Master, n.state())
		n.sent = nil
		n.SetInterface(l.now, Interface{Name: "eth0"})
		require.Equal(t, Fault, n.state())
		require.Empty(t, n.owns["VI_1"])
		require.NotEmpty(t, n.sent, "it says so, with the address it had")
		n.SetInterface(l.now, faceOf(1))
		require.Equal(t, Backup, n.state())
	}
}

func TestInterfacesThatComeAndGoAreForgotten(t *testing.T) {
	r := newRig(t, Master, nil)
	for k := range 100 {
		name := fmt.Sprint("veth", k)
		r.SetInterface(r.now, Interface{Name: name, Up: true})
		r.RemoveInterface(r.now, name)
	}
	require.Len(t, r.faces, 1)
	require.Len(t, r.faceList, 1)
	r.RemoveInterface(r.now, "eth0")
	require.Equal(t, Fault, r.state())
	r.face(true)
	require.Equal(t, Backup, r.state())
}
