package vrrp

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/wire"
)

// The files of testdata/frames are what keepalived 2.2.7 put on the wire, with
// the time since its first advert, from taking over to the end of its life. The
// same configuration has to give the same frames at the same times here.

type frame struct {
	at    time.Duration
	hex   string
	group time.Duration // of frames that are due together
}

func recordedFrames(t *testing.T, name string) (out []frame) {
	t.Helper()
	text, err := os.ReadFile("testdata/frames/" + name + ".txt")
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		var at float64
		var f frame
		_, err := fmt.Sscan(line, &at, &f.hex)
		require.NoError(t, err, line)
		f.at = time.Duration(at * float64(time.Second))
		out = append(out, f)
	}
	return out
}

// framer is Effects that makes frames.
type framer struct {
	*recorder
	now    clock.Instant
	frames []frame
	since  clock.Instant
}

func (f *framer) add(b []byte) {
	if len(f.frames) == 0 {
		f.since = f.now
	}
	f.frames = append(f.frames, frame{at: f.now.Sub(f.since), hex: hex.EncodeToString(b)})
}

// macOf has multicast addresses, and the one peer that answers.
func macOf(a netip.Addr) wire.MAC {
	switch a {
	case multicast4:
		return wire.MAC{1, 0, 0x5e, 0, 0, 0x12}
	case multicast6:
		return wire.MAC{0x33, 0x33, 0, 0, 0, 0x12}
	case netip.MustParseAddr("10.9.0.2"):
		return wire.MAC{0x8e, 0x1a, 0x2c, 0xd9, 0xad, 0x94}
	}
	return wire.MAC{}
}

func orMine(mac wire.MAC) wire.MAC {
	if mac.IsZero() {
		return mac93
	}
	return mac
}

func (f *framer) Send(_ string, packet []byte, mac wire.MAC) {
	p, _, _ := unpack("eth0", packet)
	dst := macOf(p.dst)
	if dst.IsZero() {
		return // nobody answered for it
	}
	b := make([]byte, wire.EthernetLen, 256)
	eth := wire.EthernetHeader(b)
	eth.SetDst(dst)
	eth.SetSrc(orMine(mac))
	eth.SetType(wire.TypeIPv4)
	if p.v6() {
		eth.SetType(wire.TypeIPv6)
	}
	f.add(append(b, packet...))
}

func (f *framer) Farewell(string, []Packet) {}

func (f *framer) Announce(_ string, addr netip.Addr, mac wire.MAC) {
	if addr.Is4() {
		f.add(GratuitousARP(orMine(mac), addr))
		return
	}
	f.add(UnsolicitedNA(orMine(mac), addr, false))
}

func TestFramesAreKeepalivedsByteForByte(t *testing.T) {
	instance := func(vrid, priority int, change func(*Instance)) Config {
		i := Instance{
			Name: "VI_1", Interface: "eth0", VRID: vrid, Priority: priority,
			Addresses: prefixes("10.9.0.100"), GARP: defaultGARP,
		}
		change(&i)
		return one(i)
	}
	unicast := func(peers ...string) func(*Instance) {
		return func(i *Instance) {
			i.Source = netip.MustParseAddr("10.9.0.1")
			for _, p := range peers {
				i.Peers = append(i.Peers, Peer{Addr: netip.MustParseAddr(p)})
			}
		}
	}
	ah := func(i *Instance) { i.Auth, i.Password = AH, "abc" }
	for _, c := range []struct {
		name string
		cfg  Config
	}{
		{"pass", instance(51, 100, func(i *Instance) {
			i.Master, i.Auth, i.Password, i.Addresses = true, Pass, "1111", prefixes("10.9.0.100", "10.9.0.101")
		})},
		{"own", instance(51, 255, func(i *Instance) { i.Master = true })},
		{"v3", instance(51, 200, func(i *Instance) { i.Version, i.AdvertInterval = 3, 500*time.Millisecond })},
		{"v36", instance(61, 200, func(i *Instance) { i.IPv6, i.Addresses = true, prefixes("fe80::1", "2001:db8::1") })},
		{"ah", instance(52, 150, ah)},
		{"ahu", instance(52, 150, func(i *Instance) { ah(i); unicast("10.9.0.2")(i) })},
		{"uni", instance(53, 150, unicast("10.9.0.2", "10.9.0.3"))},
		{"uni3", instance(53, 150, func(i *Instance) { i.Version = 3; unicast("10.9.0.2")(i) })},
		{"vmac", instance(54, 150, func(i *Instance) { i.VMAC = &VMAC{} })},
		{"vmacx", instance(54, 150, func(i *Instance) { i.VMAC = &VMAC{XmitBase: true} })},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := recordedFrames(t, c.name)
			requireFrames(t, want, playFrames(c.cfg, want[len(want)-1].at, nil))
		})
	}
}

// One announcement at once, and the rest of five bursts as one each; and an
// address that somebody takes away.
func TestPacedFrames(t *testing.T) {
	cfg := one(basic(150))
	cfg.Pace.GARP = 300 * time.Millisecond
	want := recordedFrames(t, "paced")
	lostAt := 1576 * time.Millisecond
	// keepalived's second bursts of its first time as master go on.
	want = want[:slices.IndexFunc(want, func(f frame) bool { return f.at > 4500*time.Millisecond })]
	got := playFrames(cfg, 4500*time.Millisecond, func(r *Router, f *framer) {
		if f.now.Sub(f.since) >= lostAt && lostAt > 0 {
			r.AddressLost(f.now, "eth0", netip.MustParseAddr("10.9.0.101"))
			lostAt = 0
		}
	})
	requireFrames(t, want, got[:len(got)-1])
}

// playFrames runs one Router alone until end after its first frame.
func playFrames(cfg Config, end time.Duration, each func(*Router, *framer)) []frame {
	f := &framer{recorder: newRecorder(), now: second}
	r := New(&cfg, f)
	r.SetInterface(f.now, Interface{
		Name: "eth0", Up: true, MAC: mac93,
		Addrs: []netip.Prefix{netip.MustParsePrefix("10.9.0.1/24"), netip.MustParsePrefix("fe80::8c1a:2cff:fed9:ad93/64")},
	})
	r.Start(f.now)
	for len(f.frames) == 0 || f.now.Sub(f.since) < end {
		if each != nil && len(f.frames) > 0 {
			each(r, f)
		}
		r.Tick(f.now)
		f.now = f.now.Add(time.Millisecond)
	}
	r.Stop(f.now)
	return f.frames
}

// requireFrames compares runs. What is due at one instant may come in any
// order; the flow label is the kernel's, not keepalived's.
func requireFrames(t *testing.T, want, got []frame) {
	t.Helper()
	for _, frames := range [][]frame{want, got} {
		var start time.Duration
		for k := range frames {
			f := &frames[k]
			if f.at-start > 50*time.Millisecond {
				start = f.at
			}
			f.group = start
			if f.hex[24:30] == "86dd6c" {
				f.hex = f.hex[:31] + "00000" + f.hex[36:]
			}
		}
		slices.SortStableFunc(frames, func(a, b frame) int {
			return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.hex, b.hex))
		})
	}
	for k := range min(len(want), len(got)) {
		require.Equal(t, want[k].hex, got[k].hex, "frame %d, at %v", k, want[k].at)
		require.InDelta(t, want[k].at.Seconds(), got[k].at.Seconds(), 0.05, "frame %d", k)
	}
	require.Len(t, got, len(want))
}
