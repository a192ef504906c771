package forward

import (
	"encoding/binary"
	"net/netip"
)

// mix scrambles h so that every bit of it depends on every other (the
// finalizer of SplitMix64).
func mix(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

func mixAddr(h uint64, a netip.Addr) uint64 {
	b := a.As16()
	return mixAddr16(h, &b)
}

func mixAddr16(h uint64, b *[16]byte) uint64 {
	h = mix(h + 0x9e3779b97f4a7c15 ^ binary.BigEndian.Uint64(b[:8]))
	return mix(h ^ binary.BigEndian.Uint64(b[8:]))
}
