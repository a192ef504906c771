//go:build parkpoints

package conntrack

import (
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
