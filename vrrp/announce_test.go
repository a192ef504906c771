package vrrp

import (
	"encoding/hex"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/wire"
)

var mac93 = wire.MAC{0x8e, 0x1a, 0x2c, 0xd9, 0xad, 0x93}

func TestAnnouncementsAreKeepalivedsByteForByte(t *testing.T) {
	require.Equal(t, "ffffffffffff8e1a2cd9ad930806"+"00010800060400018e1a2cd9ad930a090064ffffffffffff0a090064",
		hex.EncodeToString(GratuitousARP(mac93, netip.MustParseAddr("10.9.0.100"))))
	require.Equal(t, "3333000000018e1a2cd9ad9386dd6000000000203aff"+
		"fe800000000000000000000000000001"+"ff020000000000000000000000000001"+
		"8800f11420000000"+"fe800000000000000000000000000001"+"02018e1a2cd9ad93",
		hex.EncodeToString(UnsolicitedNA(mac93, netip.MustParseAddr("fe80::1"), false)))
}
