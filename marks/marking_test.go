package marks

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMarkings(t *testing.T) {
	tests := []struct {
		name, rule string
		family     Family
		dst        string // "" is any
		gives      []uint32
		not        []uint32
	}{
		{"one address", "-d 10.1.0.5 -p tcp --dport 80 -j MARK --set-mark 11", IPv4, "10.1.0.5/32", []uint32{11}, []uint32{0, 10, 12}},
		{"a network", "-d 10.1.0.5/16 -j MARK --set-mark 11", IPv4, "10.1.0.0/16", []uint32{11}, []uint32{1}},
		{"holes in the mask", "-d 10.0.5.0/255.0.255.0 -j MARK --set-mark 11", IPv4, "10.0.0.0/8", []uint32{11}, nil},
		{"no prefix at all", "-d 0.0.0.5/0.0.0.255 -j MARK --set-mark 11", IPv4, "0.0.0.0/0", []uint32{11}, nil},
		{"anywhere", "-p udp -j MARK --set-mark 1", IPv4, "", []uint32{1}, []uint32{2}},
		{"anywhere in words", "-d 0.0.0.0/0 -j MARK --set-mark 1", IPv4, "", []uint32{1}, []uint32{2}},
		{"inverted", "! -d 10.1.0.5 -j MARK --set-mark 1", IPv4, "", []uint32{1}, []uint32{2}},
		{"or", "-d 10.1.0.5 -j MARK --or-mark 4", IPv4, "10.1.0.5/32", []uint32{4, 5, 7, 12}, []uint32{0, 3, 8}},
		{"and", "-d 10.1.0.5 -j MARK --and-mark 4", IPv4, "10.1.0.5/32", []uint32{0, 4}, []uint32{1, 5}},
		{"xor", "-d 10.1.0.5 -j MARK --xor-mark 4", IPv4, "10.1.0.5/32", []uint32{0, 4, 9}, nil},
		{"some bits", "-d 10.1.0.5 -j MARK --set-xmark 0x10/0xf0", IPv4, "10.1.0.5/32", []uint32{0x10, 0x11f}, []uint32{0, 0x20}},
		{"IPv6", "-d 2001:db8::5/64 -j MARK --set-mark 11", IPv6, "2001:db8::/64", []uint32{11}, nil},
		{"IPv6 address", "-d 2001:db8::5 -j MARK --set-mark 11", IPv6, "2001:db8::5/128", []uint32{11}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rs := New(tt.family)
			for _, line := range []string{"-A PREROUTING -d 10.9.9.9 -j ACCEPT", "-A PREROUTING " + tt.rule} {
				if tt.family == IPv6 {
					line = strings.Replace(line, "10.9.9.9", "2001::1", 1)
				}
				cmd, err := Parser{Family: tt.family}.Parse(append([]string{"-t", "mangle"}, strings.Fields(line)...))
				require.NoError(t, err)
				rs, _, err = rs.Apply(cmd)
				require.NoError(t, err)
			}
			got := rs.Markings()
			require.Len(t, got, 1, "only what marks")
			want := netip.Prefix{}
			if tt.dst != "" {
				want = netip.MustParsePrefix(tt.dst)
			}
			require.Equal(t, want, got[0].Dst)
			for _, m := range tt.gives {
				require.True(t, got[0].Gives(m), m)
			}
			for _, m := range tt.not {
				require.False(t, got[0].Gives(m), m)
			}
		})
	}
}
