package director

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
	"usvs/wire"
)

// stages keeps the names of what it hears.
type stages []Stage

func (s *stages) Record(step Step) { *s = append(*s, step.Stage) }

// The recorder hears each decision once, in the order of the pipeline, and
// what becomes of the frame is the same without it.
func TestRecord(t *testing.T) {
	src, dst := netip.AddrPortFrom(cip, 40000), netip.AddrPortFrom(vip, 80)
	plain, b := newTestbed(t), newTestbed(t)
	for _, x := range []*testbed{plain, b} {
		x.service(tcpID(vip, 80), ipvs.Masquerade, "10.2.0.11:80")
	}
	var heard stages
	b.w.Record(&heard)
	for _, tt := range []struct {
		name  string
		frame []byte
		want  stages
	}{
		{"no service", segment(src, netip.AddrPortFrom(vip, 81), wire.FlagSYN, 0),
			stages{StageMark, StageInput, StageConnection, StageService}},
		{"new", segment(src, dst, wire.FlagSYN, 0),
			stages{StageMark, StageInput, StageConnection, StageService, StageSchedule, StageScheduled, StageOpen, StageRoute, StageMTU}},
		{"established", segment(src, dst, wire.FlagACK, 0),
			stages{StageMark, StageInput, StageConnection, StageRoute, StageMTU}},
		{"reply", segment(netip.MustParseAddrPort("10.2.0.11:80"), src, wire.FlagACK, 0),
			stages{StageMark, StageOutput, StageConnection, StageRoute, StageMTU}},
	} {
		heard = nil
		require.Equal(t, seen(plain, tt.frame), seen(b, tt.frame), tt.name)
		require.Equal(t, tt.want, heard, tt.name)
	}
	b.w.Record(nil)
	heard = nil
	seen(b, segment(src, dst, wire.FlagACK, 0))
	require.Empty(t, heard)
}

// seen is what became of a frame.
func seen(b *testbed, frame []byte) *Event {
	var last *Event
	stop := b.d.Observe(func(ev *Event) { last = ev })
	defer stop()
	f := wire.NewFrame(wire.MaxFrame)
	f.SetBytes(frame)
	b.out.Reset()
	b.w.Handle(b.now, []*wire.Frame{f}, &b.out)
	return last
}
