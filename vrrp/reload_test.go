package vrrp

import (
	"encoding/json"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestReloadKeepsAMaster(t *testing.T) {
	r := newRig(t, Master, nil)
	cfg := r.cfg
	i := basic(120)
	i.Addresses = prefixes("10.9.0.101", "10.9.0.102")
	i.Excluded = prefixes("10.9.1.1")
	cfg.Instances = []Instance{i}
	r.Reload(r.now, &cfg)
	require.Equal(t, []string{
		"log VRRP_Script(chk) considered successful on reload",
		"log (VI_1) removing VIPs.", "remove 10.9.0.100",
		"log (VI_1) setting VIPs.", "log (VI_1) setting E-VIPs.", "add 10.9.0.102", "add 10.9.1.1",
		"send 150 to 224.0.0.18",
		"log (VI_1) Changing effective priority from 150 to 120",
	}, r.took("announce", "log Sending", "log (VI_1) Sending"))
	require.Equal(t, Master, r.state())
	require.Len(t, r.owns["VI_1"], 3)
	require.EqualValues(t, 2, r.instances[0].id, "counts on")
}

// TestReloadOfTheSource: not one advert more comes from the old address.
func TestReloadOfTheSource(t *testing.T) {
	r := newRig(t, Master, nil)
	cfg := r.cfg
	i := basic(150)
	i.Tracks, i.Source = cfg.Instances[0].Tracks, netip.MustParseAddr("10.9.0.77")
	cfg.Instances = []Instance{i}
	r.sent = nil
	r.Reload(r.now, &cfg)
	require.Equal(t, Master, r.state())
	require.NotEmpty(t, r.sent)
	for _, s := range r.sent {
		p, _, _ := unpack(s.iface, s.packet)
		require.Equal(t, i.Source, p.src)
	}
}

func TestReloadOfARenamedMaster(t *testing.T) {
	r := newRig(t, Master, nil)
	i := basic(150)
	i.Name = "other"
	cfg := one(i)
	r.Reload(r.now, &cfg)
	require.Equal(t, Master, r.state())
	require.Empty(t, r.owns["VI_1"])
	require.Len(t, r.owns["other"], 2)
}

func TestReloadWithAnotherRouter(t *testing.T) {
	r := newRig(t, Master, nil)
	i := basic(150)
	i.VRID = 52
	cfg := one(i)
	r.Reload(r.now, &cfg)
	require.Equal(t, []string{
		"send 0 to 224.0.0.18", "log (VI_1) sent 0 priority", "log (VI_1) removing VIPs.", "remove 10.9.0.100", "remove 10.9.0.101",
		`notify INSTANCE "VI_1" DELETED 150`,
		"log (VI_1) Entering BACKUP STATE (init)", `notify INSTANCE "VI_1" BACKUP 150`,
	}, r.took())
}

func TestReloadKeepsScriptsAndFaults(t *testing.T) {
	r := newRig(t, Fault, nil)
	r.Reload(r.now, &r.cfg)
	require.Equal(t, Fault, r.state())
	require.Contains(t, r.log, "VRRP_Script(chk) considered unsuccessful on reload")
	cfg := one(basic(150)) // tracks nothing any more
	r.Reload(r.now, &cfg)
	require.Equal(t, Backup, r.state())
	r.Reload(r.now, &r.cfg) // a script that has not run since
	require.Equal(t, Backup, r.state())
	r.Tick(r.now)
	require.Equal(t, "chk", r.runs[len(r.runs)-1])
	r.SetScript(r.now, "chk", ScriptResult{Status: 1})
	require.Equal(t, Fault, r.state())
}

func TestReloadKeepsProcessesFilesAndRunningScripts(t *testing.T) {
	r := tracked(t, -20)
	r.SetProcess(r.now, "nginx", 1)
	r.SetFile(r.now, "load", 1)
	require.Equal(t, 60, r.instances[0].prio)
	r.now = r.now.Add(time.Second)
	r.Tick(r.now)
	runs := len(r.runs)
	r.Reload(r.now, &r.cfg)
	require.Equal(t, 60, r.instances[0].prio)
	r.Tick(r.now)
	require.Len(t, r.runs, runs, "it is running")
	r.SetScript(r.now, "chk", ScriptResult{Status: 1})
	require.Equal(t, 40, r.instances[0].prio)
}

func TestWhatIsTheSameRouter(t *testing.T) {
	same := func(change func(*Instance)) bool {
		a, b := basic(100), basic(100)
		a.Peers, b.Peers = []Peer{{Addr: netip.MustParseAddr("10.9.0.4")}}, []Peer{{Addr: netip.MustParseAddr("10.9.0.4")}}
		change(&b)
		a.fill()
		b.fill()
		return a.identity() == b.identity()
	}
	require.True(t, same(func(i *Instance) {
		i.Name, i.Priority, i.Peers = "x", 7, []Peer{{Addr: netip.MustParseAddr("10.9.0.5")}}
	}))
	require.True(t, same(func(i *Instance) { i.VMAC = &VMAC{} }), "unicast has no use for it")
	require.False(t, same(func(i *Instance) { i.Source = netip.MustParseAddr("10.9.0.7") }))
	require.False(t, same(func(i *Instance) { i.Peers = nil }))
	require.False(t, same(func(i *Instance) { i.VRID = 9 }))
	require.False(t, same(func(i *Instance) { i.Interface = "eth9" }))
	require.False(t, same(func(i *Instance) { i.IPv6 = true }))
	a, b := basic(100), basic(100)
	b.VMAC = &VMAC{}
	require.NotEqual(t, a.identity(), b.identity())
}

func TestReloadOfGroups(t *testing.T) {
	l := newLAN(t)
	a := startPair(t, l, 150)
	l.run(5 * time.Second)
	require.Equal(t, Master, a.groups[0].state)
	a.took()
	cfg := pairConfig(150)
	cfg.Groups = nil
	a.Reload(l.now, &cfg)
	require.Equal(t, Master, a.instances[1].state)
	a.eth1(l, false)
	require.Equal(t, []State{Master, Fault}, []State{a.instances[0].state, a.instances[1].state}, "no group any more")
	cfg = pairConfig(150)
	a.Reload(l.now, &cfg)
	require.Equal(t, []State{Fault, Fault}, []State{a.instances[0].state, a.instances[1].state})
	require.Equal(t, Fault, a.groups[0].state)
	require.Contains(t, a.events, `GROUP "G" FAULT 0`)
	a.eth1(l, true)
	l.run(5 * time.Second)
	require.Equal(t, Master, a.groups[0].state)
}

func TestReloadKeepsWhatWaitsToBeAnnounced(t *testing.T) {
	r := newRig(t, Backup, nil)
	r.Router.cfg.Pace.GARP = time.Second
	r.groupPacers()
	r.cfg.Pace.GARP = time.Second
	r.now = r.instances[0].deadline
	r.Tick(r.now)
	r.took()
	r.Reload(r.now, &r.cfg)
	r.took()
	r.now = r.now.Add(time.Second)
	r.Tick(r.now)
	require.Contains(t, r.took(), "announce 10.9.0.100 on eth0")
}

func TestReloadBeforeStartAndAfterStop(t *testing.T) {
	cfg := one(basic(150))
	fx := newRecorder()
	r := New(&Config{}, fx)
	r.SetInterface(second, faceOf(1))
	r.Reload(second, &cfg)
	require.Empty(t, fx.took())
	r.Start(second)
	require.Equal(t, Backup, r.instances[0].state)
	r.Stop(second)
	r.Reload(second, &cfg)
	require.Equal(t, Stop, r.instances[0].state)
}

// Any sequence of reloads, faults and elections leaves the addresses with who
// is master, and with nobody else.
func TestReloadsAtRandom(t *testing.T) {
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 3))
		fx := newRecorder()
		cfg := randomConfig(rng)
		r := New(&cfg, fx)
		now := second
		r.SetInterface(now, faceOf(5))
		r.SetInterface(now, Interface{Name: "eth1", Up: true})
		r.Start(now)
		for range 30 {
			switch rng.IntN(5) {
			case 0:
				cfg = randomConfig(rng)
				r.Reload(now, &cfg)
			case 1:
				r.SetInterface(now, Interface{Name: "eth1", Up: rng.IntN(2) == 0})
			case 2:
				f := faceOf(5)
				f.Up = rng.IntN(3) > 0
				r.SetInterface(now, f)
			default:
				if next := r.Tick(now); next <= now {
					t.Fatalf("seed %d: Tick(%d) returned %d", seed, now, next)
				}
				now = now.Add(time.Duration(rng.IntN(3000)) * time.Millisecond)
			}
			requireConsistent(t, seed, r, fx)
		}
		r.Stop(now)
		for name, owns := range fx.owns {
			require.Empty(t, owns, "seed %d: %s", seed, name)
		}
	}
}

func randomConfig(rng *rand.Rand) (cfg Config) {
	for k, name := range []string{"A", "B", "C"} {
		if rng.IntN(4) == 0 {
			continue
		}
		i := basic(50 + rng.IntN(206))
		i.Name, i.VRID = name, 1+(k+rng.IntN(4)/3)%3*10+k
		i.Master = i.Priority == 255
		i.Addresses = prefixes([]string{"10.9.0.100", "10.9.0.101", "10.9.0.102"}[rng.IntN(3)], "10.9.1."+string(rune('1'+k)))
		if rng.IntN(2) == 0 {
			i.Tracks.Interfaces = []Track{{Name: "eth1", Weight: -rng.IntN(2) * 10, Weighted: true}}
		}
		cfg.Instances = append(cfg.Instances, i)
	}
	if rng.IntN(2) == 0 {
		cfg.Groups = []Group{{Name: "G", Members: []string{"A", "B", "C"}[:1+rng.IntN(3)]}}
	}
	return cfg
}

func requireConsistent(t *testing.T, seed uint64, r *Router, fx *recorder) {
	t.Helper()
	masters := map[string]bool{}
	for _, i := range r.instances {
		if i.state == Master {
			masters[i.Name] = true
			var want []netip.Prefix
			for _, a := range i.addresses() {
				want = append(want, a.Prefix)
			}
			require.ElementsMatch(t, want, fx.owns[i.Name], "seed %d", seed)
		}
		require.Equal(t, i.state == Fault, i.faulty(), "seed %d: %s", seed, i.Name)
	}
	for name, owns := range fx.owns {
		if !masters[name] {
			require.Empty(t, owns, "seed %d: %s", seed, name)
		}
	}
	for _, g := range r.groups {
		for _, m := range g.members {
			require.Equal(t, g.state, m.state, "seed %d: %s", seed, m.Name)
		}
	}
}

func TestStatus(t *testing.T) {
	l := newLAN(t)
	l.add(one(basic(150)))
	cfg := pairConfig(100)
	cfg.Scripts = []Script{{Name: "chk"}}
	cfg.Processes = []Process{{Name: "nginx"}}
	cfg.Files = []File{{Name: "load"}}
	b := l.add(cfg)
	l.run(5 * time.Second)
	s := b.Status()
	require.Equal(t, "VI_1", s.Instances[0].Name)
	require.Equal(t, "10.9.0.2", s.Instances[0].Source.String())
	require.Equal(t, Fault, s.Instances[0].State, "eth1 is unknown")
	require.Equal(t, []GroupStatus{{Name: "G", State: Fault, Members: []string{"VI_1", "VI_2"}}}, s.Groups)
	require.True(t, s.Scripts[0].Running)
	text, err := json.Marshal(s)
	require.NoError(t, err)
	require.Contains(t, string(text), `"state":"FAULT"`)
	b.eth1(l, true)
	l.run(5 * time.Second)
	s = b.Status()
	require.Equal(t, Backup, s.Instances[0].State)
	require.Equal(t, "10.9.0.1", s.Instances[0].Master.String())
	require.Equal(t, 150, s.Instances[0].MasterPriority)
}

func TestReloadForgetsToAnnounceWhatIsGone(t *testing.T) {
	r := newRig(t, Backup, nil)
	r.Router.cfg.Pace.GARP = time.Second
	r.groupPacers()
	r.cfg.Pace.GARP = time.Second
	r.now = r.instances[0].deadline
	r.Tick(r.now)
	r.took()
	r.cfg.Instances[0].Addresses = prefixes("10.9.0.100")
	r.Reload(r.now, &r.cfg)
	require.NotContains(t, r.owns["VI_1"], netip.MustParsePrefix("10.9.0.101/32"))
	r.took()
	for range 5 {
		r.now = r.now.Add(time.Second)
		r.Tick(r.now)
	}
	require.NotContains(t, r.took(), "announce 10.9.0.101 on eth0")
}

func TestReloadToAShorterIntervalOfAScript(t *testing.T) {
	r := newRig(t, Backup, nil)
	r.cfg.Scripts = []Script{{Name: "chk", Interval: time.Hour}}
	r.Reload(r.now, &r.cfg)
	r.now = r.now.Add(time.Second)
	r.Tick(r.now)
	r.script(0)
	r.cfg.Scripts = []Script{{Name: "chk", Interval: time.Second}}
	r.Reload(r.now, &r.cfg)
	r.runs = nil
	r.now = r.now.Add(time.Second)
	r.Tick(r.now)
	require.Equal(t, []string{"chk"}, r.runs)
}

// What waits to be announced is found by its place: a node with thousands of
// addresses has to keep up with its timers.
func TestManyAnnouncementsWait(t *testing.T) {
	i := basic(255)
	i.Master = true
	for k := range 3000 {
		i.Excluded = append(i.Excluded, prefixes(netip.AddrFrom4([4]byte{10, 10, byte(k >> 8), byte(k)}).String())...)
	}
	cfg := one(i)
	cfg.Pace.GARP = time.Millisecond
	fx := newRecorder()
	r := New(&cfg, fx)
	r.SetInterface(second, faceOf(1))
	r.Start(second)
	r.Tick(second + 1000)
	require.Equal(t, Master, r.instances[0].state)
	require.Len(t, r.pacer("eth0").lane(false).waiting, 3002)
}
