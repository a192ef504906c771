package vrrp

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSkewAndMasterDown(t *testing.T) {
	for _, c := range []struct {
		version, prio int
		interval      time.Duration
		adverts       int
		skew, down    time.Duration
	}{
		// RFC 3768: skew does not depend on the interval.
		{2, 100, time.Second, 3, 609375 * time.Microsecond, 3609375 * time.Microsecond},
		{2, 255, time.Second, 3, 3906 * time.Microsecond, 3003906 * time.Microsecond},
		{2, 1, time.Second, 3, 996093 * time.Microsecond, 3996093 * time.Microsecond},
		{2, 150, 2 * time.Second, 3, 414062 * time.Microsecond, 6414062 * time.Microsecond},
		{2, 100, time.Second, 1, 609375 * time.Microsecond, 1609375 * time.Microsecond},
		// RFC 5798: it does.
		{3, 100, time.Second, 3, 609375 * time.Microsecond, 3609375 * time.Microsecond},
		{3, 100, 500 * time.Millisecond, 3, 304687 * time.Microsecond, 1804687 * time.Microsecond},
		{3, 200, 10 * time.Millisecond, 3, 2187 * time.Microsecond, 32187 * time.Microsecond},
		{3, 1, 40950 * time.Millisecond, 100, 40790039 * time.Microsecond, 4135790039 * time.Microsecond},
	} {
		i := Instance{Version: c.version, Priority: c.prio, AdvertInterval: c.interval, DownTimerAdverts: c.adverts}
		i.fill()
		x := newInstance(nil, &i)
		require.Equal(t, c.skew, x.skew(), "%+v", c)
		require.Equal(t, c.down, x.masterDown(), "%+v", c)
	}
}

func TestDefaults(t *testing.T) {
	i := Instance{Name: "a", Interface: "eth0", VRID: 7, Master: true, NoPreempt: true, PreemptDelay: time.Second}
	i.fill()
	require.Equal(t, 255, i.Priority)
	require.Equal(t, 2, i.Version)
	require.Equal(t, multicast4, i.Multicast)
	require.False(t, i.NoPreempt)
	require.Zero(t, i.PreemptDelay)
	require.Equal(t, 3, i.DownTimerAdverts)

	i = Instance{IPv6: true, NoPreempt: true, PreemptDelay: time.Second, Auth: Pass, VRID: 7, VMAC: &VMAC{}, Addresses: prefixes("fe80::1")}
	i.fill()
	require.Equal(t, 3, i.Version)
	require.Equal(t, 100, i.Priority)
	require.Equal(t, NoAuth, i.Auth, "version 3 has none")
	require.Zero(t, i.PreemptDelay, "nopreempt leaves nothing to delay")
	require.Equal(t, "vrrp.7", i.VMAC.Name)
	require.Equal(t, "00:00:5e:00:02:07", i.Addresses[0].VMAC.String())

	i = Instance{Strict: true, Priority: 100, Master: true, Peers: []Peer{{}}, Auth: AH}
	i.fill()
	require.False(t, i.Master, "state MASTER is for the owner")
	require.False(t, i.unicast())
	require.True(t, i.LowerPrioNoAdvert)
	require.Equal(t, NoAuth, i.Auth)
}

func TestStartupDelayPostponesTheFirstDeadline(t *testing.T) {
	l := newLAN(t)
	cfg := one(basic(150))
	cfg.StartupDelay = 3 * time.Second
	a := l.add(cfg)
	l.run(6414 * time.Millisecond)
	require.Equal(t, Backup, a.state())
	l.run(time.Millisecond)
	require.Equal(t, Master, a.state())
}

// As keepalived was seen to do it: b is master, a of higher priority comes with
// a delay of 2.5 s, lets b be for so long and takes over a master_down after the
// last advert it obeyed.
func TestPreemptDelay(t *testing.T) {
	l := newLAN(t)
	b := l.add(one(basic(100)))
	l.run(5 * time.Second)
	i := basic(150)
	i.PreemptDelay = 2500 * time.Millisecond
	a := l.add(one(i))
	a.took()
	l.run(5 * time.Second)
	require.Equal(t, []string{
		"log (VI_1) start preempt delay (2.500000)",
		"log (VI_1) received lower priority (100) advert from 10.9.0.1 - discarding",
		"log (VI_1) received lower priority (100) advert from 10.9.0.1 - discarding",
	}, a.took())
	l.run(2 * time.Second)
	require.Equal(t, []State{Master, Backup}, []State{a.state(), b.state()})
}

func TestPreemptDelayEndsWithABetterMaster(t *testing.T) {
	r := newRig(t, Backup, func(i *Instance) { i.PreemptDelay = 10 * time.Second })
	r.hear("10.9.0.9", 100, nil)
	r.hear("10.9.0.9", 200, nil)
	require.Contains(t, r.log, "(VI_1) stop preempt delay")
	require.Zero(t, r.instances[0].preempt)
}

func TestBackupAdoptsTheMastersInterval(t *testing.T) {
	r := newRig(t, Backup, func(i *Instance) { i.Version, i.AdvertInterval = 3, 2*time.Second })
	r.log = nil
	r.hear("10.9.0.9", 200, func(a *advert) { a.interval = 500 * time.Millisecond })
	r.hear("10.9.0.9", 200, func(a *advert) { a.interval = 500 * time.Millisecond })
	require.Equal(t, []string{"(VI_1) advertisement interval updated from 2000ms to 500ms by master"}, r.log)
	require.Equal(t, 1500*time.Millisecond+106*50*625/16*time.Microsecond, r.instances[0].deadline.Sub(r.now))
	r.now = r.instances[0].deadline
	r.Tick(r.now)
	require.Contains(t, r.log, "(VI_1) changing advert interval from 500ms to locally configured 2000ms")
	r.hear("10.9.0.9", 0, func(a *advert) { a.interval = 0 })
	require.Equal(t, 2*time.Second, r.instances[0].deadline.Sub(r.now))
}

func TestAnIntervalOfZeroDoesNotSpin(t *testing.T) {
	r := newRig(t, Backup, func(i *Instance) { i.Version = 3 })
	r.hear("10.9.0.9", 255, func(a *advert) { a.interval = 0 })
	require.Greater(t, r.instances[0].deadline.Sub(r.now), 30*time.Millisecond)
}

// Bursts: at once, after the delay, and every refresh at the time of an advert.
func TestBurstsOfAMaster(t *testing.T) {
	l := newLAN(t)
	i := basic(255)
	i.Master = true
	i.Excluded = prefixes("10.9.1.1")
	i.GARP = GARP{Delay: 2 * time.Second, Repeat: 2, Refresh: 3 * time.Second, RefreshRepeat: 1}
	a := l.add(one(i))
	counts := map[int]int{}
	for range 10 {
		before := l.now
		a.took()
		l.run(time.Second)
		for _, s := range a.took() {
			if len(s) > 8 && s[:8] == "announce" {
				counts[int(before/second)]++
			}
		}
	}
	require.Equal(t, map[int]int{1: 6, 3: 6, 4: 3, 7: 3, 10: 3}, counts)
}

func TestLowerPriorityMasterIsAnsweredOnceMoreLater(t *testing.T) {
	r := newRig(t, Master, func(i *Instance) { i.GARP.Delay, i.GARP.LowerPrioDelay, i.GARP.LowerPrioRepeat = 0, 2*time.Second, 3 })
	r.hear("10.9.0.4", 100, nil)
	require.Equal(t, "MASTER, advert 150, tell MASTER_RX_LOWER_PRI, announce 6, wait interval", r.outcome())
	r.now = r.now.Add(time.Second)
	r.Tick(r.now)
	require.Equal(t, "MASTER, advert 150, wait interval", r.outcome())
	r.now = r.now.Add(time.Second)
	r.Tick(r.now)
	require.Equal(t, "MASTER, advert 150, announce 6, wait interval", r.outcome())
}

// A flood of adverts costs its sender more than it costs us.
func TestFloodOfLesserMasters(t *testing.T) {
	r := newRig(t, Master, nil)
	r.log = nil
	for range 1000 {
		r.hear("10.9.0.4", 100, nil)
		r.now = r.now.Add(100 * time.Microsecond)
	}
	require.Len(t, r.log, 10+2+10, "remarks, and what one burst logs")
	announced, told, adverts := 0, 0, 0
	for _, s := range r.took() {
		switch strings.Fields(s)[0] {
		case "announce":
			announced++
		case "notify":
			told++
		case "send":
			adverts++
		}
	}
	require.Equal(t, []int{10, 1, 1000}, []int{announced, told, adverts})
}

func TestInterfacesWithoutARPAreNotAnnouncedOn(t *testing.T) {
	r := newRig(t, Backup, nil)
	f := faceOf(5)
	f.NoARP = true
	r.SetInterface(r.now, f)
	r.now = r.instances[0].deadline
	r.Tick(r.now)
	require.Equal(t, "MASTER, advert 150, add, tell MASTER, wait interval", r.outcome())
}

func TestTwoOwners(t *testing.T) {
	l := newLAN(t)
	owner := basic(255)
	owner.Master = true
	a := l.add(one(owner))
	l.run(time.Second)
	b := l.add(one(owner))
	l.run(5 * time.Second)
	require.Len(t, l.masters(), 1)
	require.Equal(t, 254, b.instances[0].prio)
	require.Contains(t, b.log, "(VI_1) CONFIGURATION ERROR: local instance and a remote instance are both configured as address owner, please fix - reducing local priority")
	require.NotEqual(t, a.state(), b.state())
}

func TestGarpGroupsShareAPace(t *testing.T) {
	i, j := basic(255), basic(255)
	i.Master, j.Master = true, true
	i.Addresses, j.Addresses = prefixes("10.9.0.100"), prefixes("10.8.0.100")
	j.Name, j.Interface, j.Source = "VI_2", "eth1", netip.MustParseAddr("10.8.0.1")
	i.GARP, j.GARP = GARP{}, GARP{}
	cfg := Config{Instances: []Instance{i, j}, PaceGroups: []PaceGroup{{Pace: Pace{GARP: time.Second}, Interfaces: []string{"eth0", "eth1"}}}}
	fx := newRecorder()
	r := New(&cfg, fx)
	for _, name := range []string{"eth0", "eth1"} {
		f := faceOf(1)
		f.Name = name
		r.SetInterface(second, f)
	}
	r.Start(second)
	r.Tick(second + 1000)
	require.Contains(t, fx.said, "announce 10.9.0.100 on eth0")
	require.NotContains(t, fx.said, "announce 10.8.0.100 on eth1")
	r.Tick(second*2 + 1000)
	require.Contains(t, fx.said, "announce 10.8.0.100 on eth1")
}
