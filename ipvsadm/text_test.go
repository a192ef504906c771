package ipvsadm

import (
	"math"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseInt(t *testing.T) {
	for s, want := range map[string]int64{
		"0": 0, "7": 7, " \t\n\v\f\r7": 7, "+7": 7, "-7": -7, "080": 80, "-0": 0,
		"0000000000000000000000000000007": 7, "999999999999999999": 999999999999999999,
	} {
		n, ok := parseInt(s, math.MinInt64, math.MaxInt64)
		require.True(t, ok, s)
		require.Equal(t, want, n, s)
	}
	for _, s := range []string{"", " ", "+", "-", "+-7", "--7", "7 ", "1x", "x", "0x10", "1_0", "1000000000000000000", "+ 7", "٣"} {
		_, ok := parseInt(s, math.MinInt64, math.MaxInt64)
		require.False(t, ok, s)
	}
	for s, want := range map[string]bool{"4": false, "5": true, "9": true, "10": false, "-5": false} {
		_, ok := parseInt(s, 5, 9)
		require.Equal(t, want, ok, s)
	}
}

func TestParseLeadingInt(t *testing.T) {
	for s, want := range map[string]int32{
		"": 0, "x": 0, "-": 0, "64": 64, " 64/": 64, "-3x": -3, "+5": 5, "255.255.255.0": 255,
		"4294967297": 1, "99999999999999999999": -1,
	} {
		require.Equal(t, want, parseLeadingInt(s), s)
	}
}

func TestInetAton(t *testing.T) {
	for s, want := range map[string]string{
		"1.2.3.4": "1.2.3.4", "1.2.3": "1.2.0.3", "1.2": "1.0.0.2", "24": "0.0.0.24", "0": "0.0.0.0",
		"0x7f.1": "127.0.0.1", "0X7F000001": "127.0.0.1", "017.1.1.1": "15.1.1.1", "1.65536": "1.1.0.0",
		"1.2.65535": "1.2.255.255", "1.16777215": "1.255.255.255", "4294967295": "255.255.255.255",
		"1.2.3.4 anything": "1.2.3.4", "1.2.3.4\t": "1.2.3.4",
	} {
		a, ok := parseInetAton(s)
		require.True(t, ok, s)
		require.Equal(t, want, a.String(), s)
	}
	for _, s := range []string{
		"", " ", "x", ".", "1.", ".1", "1..2", "1.2.3.4.", "1.2.3.4.5", "256.1.1.1", "1.2.3.256", "1.2.65536",
		"1.16777216", "4294967296", "08", "0x", "0xg", "+1", "-1", "1_0", "0b1", "0o7", " 1.2.3.4", "1.2.3.4x", "1. 2",
	} {
		_, ok := parseInetAton(s)
		require.False(t, ok, s)
	}
}

func TestFormatAddr(t *testing.T) {
	for s, want := range map[string]string{
		"1.2.3.4": "1.2.3.4", "::": "::", "::1": "::1", "::ffff": "::ffff", "::102:304": "::1.2.3.4",
		"::ffff:1.2.3.4": "::ffff:1.2.3.4", "2001:db8:0:1:0:0:0:1": "2001:db8:0:1::1", "fe80::1%eth0": "fe80::1",
	} {
		require.Equal(t, want, formatAddr(netip.MustParseAddr(s)))
	}
}

// An address nobody filled in prints as something, without a panic.
func TestFormatNoAddr(t *testing.T) {
	require.Equal(t, "invalid IP:0", names{}.endpoint(netip.Addr{}, 0, 0))
}

func TestWords(t *testing.T) {
	require.Empty(t, Words(" \t\r\n"))
	require.Equal(t, []string{"-A", "-t", "x\v", "\"a", "b\""}, Words("ipvsadm -A\t-t  x\v \"a b\"\r\n"))
}
