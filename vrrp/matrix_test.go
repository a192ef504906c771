package vrrp

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/clock"
)

// rig is one instance in a chosen state, with priority 150 and address 10.9.0.5.
type rig struct {
	t   *testing.T
	now clock.Instant
	cfg Config
	*node
}

func newRig(t *testing.T, in State, change func(*Instance)) *rig {
	i := basic(150)
	i.Tracks.Scripts = []Track{{Name: "chk"}}
	if change != nil {
		change(&i)
	}
	r := &rig{t: t, now: second, cfg: one(i), node: &node{recorder: newRecorder()}}
	r.cfg.Scripts = []Script{{Name: "chk"}}
	r.Router = New(&r.cfg, r.recorder)
	r.face(true)
	r.Start(r.now)
	r.Tick(r.now)
	switch in {
	case Init:
	case Fault:
		r.script(1)
	case Backup:
		r.script(0)
	case Master:
		r.script(0)
		r.now = r.now.Add(i.masterDownOf(t))
		r.Tick(r.now)
	case Stop:
		r.script(0)
		r.Stop(r.now)
	}
	require.Equal(t, in, r.instances[0].state)
	r.took()
	return r
}

// masterDownOf is the time a backup of the configuration waits.
func (i Instance) masterDownOf(t *testing.T) time.Duration {
	i.fill()
	return newInstance(nil, &i).masterDown()
}

func (r *rig) face(up bool) {
	f := faceOf(5)
	f.Up = up
	r.SetInterface(r.now, f)
}

func (r *rig) script(status int) {
	if s := r.Router.script("chk"); !s.running {
		s.running = true
	}
	r.SetScript(r.now, "chk", ScriptResult{Status: status})
}

// hear hands in an advert like the instance's own but for what change does.
func (r *rig) hear(src string, priority int, change func(*advert)) {
	cfg := r.instances[0].Instance
	a := advert{
		version: cfg.Version, vrid: cfg.VRID, priority: priority, auth: cfg.Auth, interval: cfg.AdvertInterval,
		src: netip.MustParseAddr(src), dst: cfg.Multicast, ttl: 255, id: 7, seq: r.instances[0].seq + 1,
	}
	if cfg.Auth == Pass {
		a.password = cfg.key()
	}
	for _, v := range cfg.Addresses {
		a.addrs = append(a.addrs, v.Prefix.Addr())
	}
	if change != nil {
		change(&a)
	}
	r.Handle(r.now, Packet{Interface: "eth0", IP: a.packet(cfg.key())})
}

// outcome is what has come of the last event, in short: the state, what was
// done, and when the instance acts next.
func (r *rig) outcome() string {
	i := r.instances[0]
	out := []string{i.state.String()}
	announced := 0
	for _, s := range r.took("log", "run") {
		word := strings.Fields(s)
		switch word[0] {
		case "send":
			out = append(out, "advert "+word[1])
		case "add", "remove":
			if strings.HasSuffix(s, ".100") {
				out = append(out, word[0])
			}
		case "announce":
			announced++
		case "notify":
			out = append(out, "tell "+word[3])
		}
	}
	if announced > 0 {
		out = append(out, fmt.Sprintf("announce %d", announced))
	}
	switch wait := i.deadline.Sub(r.now); {
	case i.deadline == clock.Never:
	case wait == i.masterDown():
		out = append(out, "wait down")
	case wait == i.skew():
		out = append(out, "wait skew")
	case wait == i.AdvertInterval:
		out = append(out, "wait interval")
	default:
		out = append(out, "wait on")
	}
	return strings.Join(out, ", ")
}

// events by name, each half a second after the state was entered.
var events = []struct {
	name string
	do   func(*rig)
}{
	{"time passes", func(r *rig) { r.Tick(r.now) }},
	{"deadline", func(r *rig) {
		if d := r.instances[0].deadline; d != clock.Never {
			r.now = d
		}
		r.Tick(r.now)
	}},
	{"advert 0", func(r *rig) { r.hear("10.9.0.9", 0, nil) }},
	{"advert 149", func(r *rig) { r.hear("10.9.0.9", 149, nil) }},
	{"advert 150, lower address", func(r *rig) { r.hear("10.9.0.4", 150, nil) }},
	{"advert 150, higher address", func(r *rig) { r.hear("10.9.0.9", 150, nil) }},
	{"advert 150, our address", func(r *rig) { r.hear("10.9.0.5", 150, nil) }},
	{"advert 151", func(r *rig) { r.hear("10.9.0.4", 151, nil) }},
	{"advert 255", func(r *rig) { r.hear("10.9.0.4", 255, nil) }},
	{"invalid advert", func(r *rig) { r.hear("10.9.0.9", 255, func(a *advert) { a.ttl = 254 }) }},
	{"interface down", func(r *rig) { r.face(false) }},
	{"interface up", func(r *rig) { r.face(true) }},
	{"script fails", func(r *rig) { r.script(1) }},
	{"script succeeds", func(r *rig) { r.script(0) }},
	{"address lost", func(r *rig) { r.AddressLost(r.now, "eth0", netip.MustParseAddr("10.9.0.101")) }},
	{"reload, the same", func(r *rig) { r.Reload(r.now, &r.cfg) }},
	{"reload, without", func(r *rig) {
		gone := r.instances[0]
		r.Reload(r.now, &Config{})
		r.instances = append(r.instances, gone) // to be looked at
	}},
	{"stop", func(r *rig) { r.Stop(r.now) }},
}

// variants of the instance; testdata/states.txt has every outcome of each.
var variants = []struct {
	name   string
	change func(*Instance)
}{
	{"default", nil},
	{"nopreempt", func(i *Instance) { i.NoPreempt = true }},
	{"preempt_delay 2", func(i *Instance) { i.PreemptDelay = 2 * time.Second }},
	{"lower_prio_no_advert, higher_prio_send_advert", func(i *Instance) { i.LowerPrioNoAdvert, i.HigherPrioSendAdvert = true, true }},
	{"strict_mode", func(i *Instance) { i.Strict = true }},
	{"version 3, priority 254", func(i *Instance) { i.Version, i.Priority = 3, 254 }},
	{"address owner", func(i *Instance) { i.Master, i.Priority = true, 255 }},
}

func TestEveryStateByEveryEvent(t *testing.T) {
	text, err := os.ReadFile("testdata/states.txt")
	require.NoError(t, err)
	want := strings.Split(strings.TrimSpace(string(text)), "\n")
	var got []string
	for _, v := range variants {
		got = append(got, "# "+v.name)
		for _, e := range events {
			got = append(got, e.name)
			for _, state := range []State{Init, Backup, Master, Fault, Stop} {
				r := newRig(t, state, v.change)
				if e.name != "deadline" {
					r.now = r.now.Add(500 * time.Millisecond)
				}
				e.do(r)
				got = append(got, fmt.Sprintf("\t%v: %s", state, r.outcome()))
			}
		}
	}
	for k := range min(len(want), len(got)) {
		require.Equal(t, want[k], got[k], "line %d", k+1)
	}
	require.Len(t, want, len(got), "%s", strings.Join(got, "\n"))
}
