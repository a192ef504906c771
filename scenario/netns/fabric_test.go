package netns

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/link"
	"usvs/scenario"
	"usvs/wire"
)

// fakeDevice is a port without a machine: a test sends and looks what comes.
type fakeDevice struct {
	in     chan []byte
	closed chan struct{}

	mu  sync.Mutex
	got [][]byte // guarded by mu
}

func newFakeDevice() *fakeDevice {
	return &fakeDevice{in: make(chan []byte, 1000), closed: make(chan struct{})}
}

func (d *fakeDevice) Name() string           { return "fake" }
func (d *fakeDevice) Medium() wire.Medium    { return wire.Ethernet }
func (d *fakeDevice) Wake()                  {}
func (d *fakeDevice) NewWriter() link.Writer { return d }

func (d *fakeDevice) Close() error {
	close(d.closed)
	return nil
}

func (d *fakeDevice) ReadBatch(fs []*link.Frame, _ time.Duration) (int, error) {
	select {
	case b := <-d.in:
		fs[0].Reset()
		copy(fs[0].Space(), b)
		fs[0].SetLen(len(b))
		return 1, nil
	case <-d.closed:
		return 0, nil
	}
}

func (d *fakeDevice) WriteBatch(fs []*link.Frame) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range fs {
		d.got = append(d.got, append([]byte(nil), f.Bytes()...))
	}
	return len(fs), nil
}

// payloads are the first bytes behind the headers of what has come.
func (d *fakeDevice) payloads() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	text := ""
	for _, b := range d.got {
		text += string(b[wire.EthernetLen])
	}
	return text
}

// hall is a fabric with machines a, b and c on one segment and d on another.
type hall struct {
	*fabric
	devices map[string]*fakeDevice
}

func newHall(t *testing.T) *hall {
	h := &hall{newFabric(1), map[string]*fakeDevice{}}
	for _, name := range []string{"a", "b", "c", "d"} {
		segment := "lan"
		if name == "d" {
			segment = "other"
		}
		h.devices[name] = newFakeDevice()
		h.plugIn(eth0(name), segment, h.devices[name])
	}
	h.carry()
	t.Cleanup(h.close)
	return h
}

func eth0(name string) scenario.Interface { return scenario.Interface{Node: name, NIC: "eth0"} }

func macOf(name string) wire.MAC {
	if name == "all" {
		return wire.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	}
	return wire.MAC{2, 0, 0, 0, 0, name[0]}
}

// send has one machine send a frame of a one-letter payload to another.
func (h *hall) send(from, to, payload string) {
	b := make([]byte, wire.EthernetLen+50)
	wire.EthernetHeader(b).SetSrc(macOf(from))
	wire.EthernetHeader(b).SetDst(macOf(to))
	copy(b[wire.EthernetLen:], payload)
	h.devices[from].in <- b
	h.quiet(20*time.Millisecond, 5*time.Second)
}

func (h *hall) got(name string) string { return h.devices[name].payloads() }

func TestSwitchLearns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t)
		h.send("a", "b", "1") // nobody knows b: everywhere on the segment
		require.Equal(t, []string{"", "1", "1", ""}, []string{h.got("a"), h.got("b"), h.got("c"), h.got("d")})
		h.send("b", "a", "2")
		h.send("a", "b", "3")
		h.send("a", "all", "4")
		h.send("a", "a", "5") // to itself: it is at the port it came from
		require.Equal(t, []string{"2", "134", "14", ""}, []string{h.got("a"), h.got("b"), h.got("c"), h.got("d")})
	})
}

func TestStationMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t)
		h.send("a", "all", "1")
		h.devices["x"] = h.devices["c"] // c speaks for a from now on, as after a failover
		b := make([]byte, 60)
		wire.EthernetHeader(b).SetSrc(macOf("a"))
		wire.EthernetHeader(b).SetDst(macOf("all"))
		h.devices["c"].in <- b
		h.quiet(20*time.Millisecond, time.Second)
		h.send("b", "a", "2")
		require.NotContains(t, h.got("a"), "2")
		require.Contains(t, h.got("c"), "2")
	})
}

func TestShortFramesAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t)
		h.devices["a"].in <- make([]byte, wire.EthernetLen-1)
		h.send("a", "b", "1")
		require.Len(t, h.seen(eth0("a")), 1)
	})
}

func TestFramesAreRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t)
		h.send("a", "b", "1")
		sent, come := h.seen(eth0("a")), h.seen(eth0("b"))
		require.Len(t, sent, 1)
		require.Len(t, come, 1)
		require.Equal(t, scenario.Out, sent[0].Dir)
		require.Equal(t, scenario.In, come[0].Dir)
		require.Equal(t, sent[0].Data, come[0].Data)
		require.LessOrEqual(t, sent[0].At, come[0].At)
		require.Nil(t, h.seen(eth0("nobody")))
	})
}

func TestCables(t *testing.T) {
	for name, tc := range map[string]struct {
		at       string
		state    scenario.LinkState
		at1, at2 string // what a and b get of: a to b, b to a
	}{
		"whole":     {"b", scenario.LinkState{}, "2", "1"},
		"down":      {"b", scenario.LinkState{Down: true}, "", ""},
		"cut in":    {"b", scenario.LinkState{CutIn: true}, "2", ""},
		"cut out":   {"b", scenario.LinkState{CutOut: true}, "", "1"},
		"loss":      {"a", scenario.LinkState{Loss: 1}, "", ""},
		"twice":     {"a", scenario.LinkState{Duplicate: 1}, "22", "11"},
		"slow":      {"a", scenario.LinkState{Delay: 3 * time.Millisecond, Jitter: time.Millisecond}, "2", "1"},
		"rate":      {"a", scenario.LinkState{Rate: 1e6}, "2", "1"},
		"held back": {"a", scenario.LinkState{Reorder: 1}, "2", "1"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHall(t)
				h.change(eth0(tc.at), tc.state)
				h.send("a", "b", "1")
				h.send("b", "a", "2")
				require.Equal(t, tc.at1, h.got("a"))
				require.Equal(t, tc.at2, h.got("b"))
				require.Len(t, h.seen(eth0("b")), len(h.got("b"))+1, "what b sent is seen, lost or not")
			})
		})
	}
}

func TestDelayKeepsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t)
		h.change(eth0("a"), scenario.LinkState{Delay: 2 * time.Millisecond})
		want := ""
		for i := range 26 {
			letter := string(rune('a' + i))
			want += letter
			b := make([]byte, 60)
			wire.EthernetHeader(b).SetSrc(macOf("a"))
			wire.EthernetHeader(b).SetDst(macOf("b"))
			copy(b[wire.EthernetLen:], letter)
			h.devices["a"].in <- b
		}
		h.quiet(50*time.Millisecond, 5*time.Second)
		require.Equal(t, want, h.got("b"))
	})
}

func TestCorruptionTurnsOneBit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t)
		whole := make([]byte, 100)
		broken := h.damaged(&scenario.LinkState{Corrupt: 1}, whole)
		bits := 0
		for i := range broken {
			for x := broken[i] ^ whole[i]; x != 0; x &= x - 1 {
				bits++
			}
		}
		require.Equal(t, 1, bits)
		require.Equal(t, make([]byte, 100), whole, "others have the frame too")
	})
}

func TestRateAddsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFabric(1)
		p := f.plugIn(eth0("a"), "lan", newFakeDevice())
		p.link = scenario.LinkState{Rate: 8000} // a byte a millisecond
		first := f.travel(p, scenario.Out, 1000)
		second := f.travel(p, scenario.Out, 1000)
		other := f.travel(p, scenario.In, 1000)
		require.Equal(t, time.Second, first)
		require.Equal(t, 2*time.Second, second)
		require.Equal(t, time.Second, other, "the directions do not share")
	})
}

func TestChangeOfAnUnknownCableIsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		newHall(t).change(eth0("nobody"), scenario.LinkState{Down: true})
	})
}
