package vrrp

import (
	"encoding/hex"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
)

// What keepalived 2.2.7 sent as master and, apart from the identification, at
// its end.
func TestFarewell(t *testing.T) {
	advert, _ := hex.DecodeString("45c0002c00010000ff70d0840a090001e0000012" + "213364020101028c0a0900640a0900653131313100000000")
	got, addrs, ok := Farewell(advert)
	assert.True(t, ok)
	assert.Equal(t, "213300020101668c0a0900640a0900653131313100000000", hex.EncodeToString(got[20:]))
	assert.Equal(t, advert[:20], got[:20])
	assert.Equal(t, []netip.Addr{netip.MustParseAddr("10.9.0.100"), netip.MustParseAddr("10.9.0.101")}, addrs)
	assert.Equal(t, byte(100), advert[22], "the advert stays as it was")

	_, _, ok = Farewell(got)
	assert.False(t, ok, "it says farewell already")
	ah, _ := hex.DecodeString("45c0004000010000ff33d0ad0a090001e0000012" + "700400000a09000100000001a4b7baa868f8e0c02d4f00be" + "2134960102013c5c0a0900640000000000000000")
	_, _, ok = Farewell(ah)
	assert.False(t, ok, "only who knows the key can make one")
	for n := range advert {
		if _, _, ok := Farewell(advert[:n]); ok && n < 36 {
			t.Errorf("%d bytes are no advert", n)
		}
	}
}

func FuzzFarewell(f *testing.F) {
	advert, _ := hex.DecodeString("45c0002c00010000ff70d0840a090001e0000012" + "213364020101028c0a0900640a0900653131313100000000")
	f.Add(advert)
	f.Fuzz(func(t *testing.T, packet []byte) {
		if got, _, ok := Farewell(packet); ok {
			assert.Len(t, got, len(packet))
		}
	})
}
