package sched

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
)

func TestSipHash13(t *testing.T) {
	// The published vectors of hsiphash: key 00..0f, message 00 01 02 ...
	k0, k1 := uint64(0x0706050403020100), uint64(0x0f0e0d0c0b0a0908)
	require.Equal(t, uint32(0x050fc4dc), uint32(sipHash13(k0, k1, 0)), "empty message")
	require.Equal(t, uint32(0x88d38328), uint32(sipHash13(k0, k1, 4<<56|0x03020100)), "4 bytes")
}

func TestHashes(t *testing.T) {
	cases := []struct {
		client string
		sh     uint32
		bucket uint32
		hash   uint32
		slot   uint32
	}{
		{"0.0.0.0", 0, 0, 0x1d5a77c2, 2495},
		{"10.0.0.1", 39, 159, 0x03080ce4, 3711},
		{"192.168.1.10", 248, 995, 0xd5e959b6, 3323},
		{"203.0.113.7", 124, 499, 0xa86e2c15, 1705},
		{"2001:db8::1", 63, 252, 0xcdc3f189, 3457},
	}
	for _, c := range cases {
		f := fold(netip.MustParseAddr(c.client))
		require.Equal(t, c.sh, hash32(f, shBits), c.client)
		require.Equal(t, c.sh, hash32(f, dhBits), c.client)
		require.Equal(t, c.bucket, hash32(f, cacheBits), c.client)
		require.Equal(t, c.hash, mhHash(mhKey1, f), c.client)
		require.Equal(t, c.slot, mhHash(mhKey1, f)%mhSize, c.client)
	}
	withPort := 40000 + fold(netip.MustParseAddr("10.0.0.1"))
	require.Equal(t, uint32(203), hash32(withPort, shBits))
	require.Equal(t, uint32(0xf458b244), mhHash(mhKey1, withPort))
	require.Equal(t, uint32(2940), mhHash(mhKey1, withPort)%mhSize)
}

func TestFold(t *testing.T) {
	require.Equal(t, uint32(0x0a010203), fold(netip.MustParseAddr("10.1.2.3")))
	require.Equal(t, uint32(0x11111111^0x22222222^0x33333333^0x44444444),
		fold(netip.MustParseAddr("1111:1111:2222:2222:3333:3333:4444:4444")))
	require.Equal(t, uint32(0xffff^0x0a000001), fold(netip.MustParseAddr("::ffff:10.0.0.1")))
	require.Zero(t, fold(netip.Addr{}))
}

func TestHashedPort(t *testing.T) {
	for proto, want := range map[ipvs.Protocol]uint16{
		ipvs.TCP: 7, ipvs.UDP: 7, ipvs.SCTP: 7, ipvs.ProtoICMP: 0, ipvs.ProtoIP: 0, 50: 0,
	} {
		req := Request{Protocol: proto, ClientPort: 7}
		require.Zero(t, hashedPort(&req), proto)
		req.Flags = ipvs.FlagSched1
		require.Zero(t, hashedPort(&req), proto)
		req.Flags = ipvs.FlagSched2
		require.Equal(t, want, hashedPort(&req), proto)
	}
}

// FuzzFold compares fold with its definition, word by word.
func FuzzFold(f *testing.F) {
	f.Add([]byte{10, 0, 0, 1})
	f.Add([]byte("0123456789abcdef"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, _ := netip.AddrFromSlice(b)
		var want uint32
		for ; a.IsValid() && len(b) > 0; b = b[4:] {
			want ^= binary.BigEndian.Uint32(b)
		}
		require.Equal(t, want, fold(a))
	})
}
