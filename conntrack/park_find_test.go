//go:build parkpoints

package conntrack

import (
	"net/netip"
	"testing"

	"usvs/ipvs"

	"github.com/stretchr/testify/require"
)

// TestParkFindWhileBuilt: an entry that ends while somebody is about to look at it
// is built for another connection, and while it is half built it has the former
// one's key; it is not taken for that.
func TestParkFindWhileBuilt(t *testing.T) {
	for _, dir := range []Dir{DirIn, DirOut} {
		s := newScene(t)
		c := s.add(1, Ref{})
		var ref Ref
		finder, _ := start(func() {
			ref, _ = find(s.table, s.now, dir, ipvs.TCP, client(1), testVIP)
		}, 0)
		for finder.at != "find: picked" {
			require.True(t, finder.next())
		}
		require.True(t, s.table.Expire(s.now, c.Ref))
		var d Conn
		builder, _ := start(func() {
			s.table.Insert(s.now, masqueraded(ftpSpec(2, s.servers[0])), &d)
		}, 0)
		builder.until(t, "beside: chunk") // of its side record, before it has its key
		finder.until(t, "find: compared")
		builder.finish()
		require.Equal(t, c.Ref.index(), d.Ref.index())
		finder.finish()
		require.True(t, ref.IsZero(), "it found %v", ref)
		s.check()
	}
}

// TestParkFindFirst: of two connections of which a packet from a server may be,
// everybody finds the first in order, even if the table doubles meanwhile and both
// are moved.
func TestParkFindFirst(t *testing.T) {
	ways := map[string]func(s *scene, from, to netip.AddrPort) Ref{
		"FindOut4": func(s *scene, from, to netip.AddrPort) Ref {
			ref, _ := find(s.table, s.now, DirOut, ipvs.TCP, to, from)
			return ref
		},
		"LookupOut": func(s *scene, from, to netip.AddrPort) Ref {
			var c Conn
			require.True(s.tb, s.table.LookupOut(s.now, ipvs.TCP, from, to, &c))
			return c.Ref
		},
		"Touch": func(s *scene, from, to netip.AddrPort) Ref {
			p := []Probe{aimed(s.table, DirOut, ipvs.TCP, to, from)}
			s.table.Touch(p)
			i, e, ctl := s.table.find(&p[0])
			if e == nil {
				return Ref{}
			}
			return makeRef(i, ctl.gen())
		},
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			everyStep(t, func(s *scene) (act, meanwhile, after func()) {
				n := s.stranger(7, 8)
				var all [2]Conn
				for i, virtual := range []string{"10.9.0.2:80", "10.9.0.1:80"} { // the lower number is the later in order
					spec := masqueraded(tcpSpec(n, s.servers[0]))
					spec.Virtual = ap(virtual)
					require.Equal(t, Inserted, s.table.Insert(s.now, spec, &all[i]))
				}
				var found Ref
				return func() { found = way(s, serverAddr(s.servers[0]), client(n)) },
					func() {
						s.double()
						s.table.split(&s.table.shards[0], 7)
					},
					func() {
						if name != "Touch" || !found.IsZero() { // that may find nothing
							require.Equal(t, all[1].Ref, found)
						}
					}
			})
		})
	}
}
