package director

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
	"usvs/sched"
)

func pickerOver(tb testing.TB, name string, weights ...int32) (*Picker, []*ipvs.RealServer) {
	s, err := sched.New(name, rand.New(rand.NewPCG(1, 2)))
	require.NoError(tb, err)
	var list []*ipvs.RealServer
	for i, w := range weights {
		id := ipvs.ServerID{Addr: rip1, Port: uint16(i + 1)}
		list = append(list, ipvs.NewRealServer(id, nil, ipvs.ServerSpec{Weight: w}))
	}
	p := NewPicker(s)
	require.NoError(tb, p.Update(sched.Bind, list, nil))
	return p, list
}

func pickRequest() *sched.Request {
	sysctls := ipvs.DefaultSysctls()
	return &sched.Request{Protocol: ipvs.TCP, Client: cip, Dst: vip, Sysctls: &sysctls}
}

// TestPickerFollowsUpdates: whether packets ask the scheduler or a copy of it,
// they hear of every change at once.
func TestPickerFollowsUpdates(t *testing.T) {
	for _, name := range []string{"wlc", "sh", "dh", "fo", "rr", "wrr", "mh"} {
		p, list := pickerOver(t, name, 3, 2)
		require.NotNil(t, p.Schedule(pickRequest()), name)
		require.NoError(t, p.Update(sched.Delete, list[1:], list[0]))
		require.Same(t, list[1], p.Schedule(pickRequest()), name)
		require.NoError(t, p.Update(sched.Delete, nil, list[1]))
		require.Nil(t, p.Schedule(pickRequest()), name)
		require.NoError(t, p.Update(sched.Add, list[:1], list[0]))
		require.Same(t, list[0], p.Schedule(pickRequest()), name)
	}
	require.Nil(t, NewPicker(nil).Schedule(pickRequest()))
}

// BenchmarkPicker is a decision, by one worker and by two of one service.
func BenchmarkPicker(b *testing.B) {
	for _, name := range []string{"wlc", "rr", "sh"} {
		p, _ := pickerOver(b, name, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
		b.Run(fmt.Sprint(name, "/one"), func(b *testing.B) {
			for req := pickRequest(); b.Loop(); {
				p.Schedule(req)
			}
		})
		b.Run(fmt.Sprint(name, "/all"), func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for req := pickRequest(); pb.Next(); {
					p.Schedule(req)
				}
			})
		})
	}
}
