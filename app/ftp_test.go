package app

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCommand holds the forms of a command to what Linux 6.1 made of them, but
// for numbers out of range, which newer kernels refuse.
func TestCommand(t *testing.T) {
	for _, c := range []struct {
		text string
		v6   bool
		want Command
		at   string
	}{
		{text: "PASV\r\n", want: Passive},
		{text: "pasv\r\n", want: Passive},
		{text: "PASV\n"},
		{text: "PASV"},
		{text: "PASV\r\n", v6: true},
		{text: " PASV\r\n", want: Passive},
		{text: "NOOP\r\nPASV\r\n", want: Passive},
		{text: "EPSV\r\n", want: ExtendedPassive},
		{text: "EPSV\r\n", v6: true, want: ExtendedPassive},
		{text: "EPSV 1\r\n", want: ExtendedPassive},
		{text: "EPSV 1\r\n", v6: true},
		{text: "EPSV 2\r\n"},
		{text: "EPSV 2\r\n", v6: true, want: ExtendedPassive},
		{text: "EPSV ALL\r\n"},
		{text: "PORT 198,51,100,7,156,164\r\n", want: Active, at: "198.51.100.7:40100"},
		{text: "port 198,51,100,7,156,165\r\n", want: Active, at: "198.51.100.7:40101"},
		{text: "PORT 1,2,3,4,156,166\r\n", want: Active, at: "1.2.3.4:40102"},
		{text: "PORT 198,51,100,7,156,167"},
		{text: "NOOP\r\nPORT 198,51,100,7,156,168\r\n"},
		{text: "PORT  198,51,100,7,156,169\r\n", want: Active, at: "198.51.100.7:40105"},
		{text: "PORT 198,51,100,7,156,300\r\n"},
		{text: "PORT 198,51,100,300,156,170\r\n"},
		{text: "PORT 198,51,100,7,156,171,9\r\n", want: Active, at: "198.51.100.7:40107"},
		{text: "PORT 198, 51,100,7,156,172\r\n"},
		{text: "PORT 198,51,100,7,156,173 x\r\n", want: Active, at: "198.51.100.7:40109"},
		{text: "PORT 198,51,100,7,156,174\n", want: Active, at: "198.51.100.7:40110"},
		{text: "PORT 0198,051,100,007,156,175\r\n", want: Active, at: "198.51.100.7:40111"},
		{text: "PORT 198,51,100,7,0,0\r\n"},
		{text: "PORT 198,51,100,7,156,164\r\n", v6: true},
		{text: "EPRT |1|198.51.100.7|40200|\r\n", want: Active, at: "198.51.100.7:40200"},
		{text: "EPRT !1!198.51.100.7!40201!\r\n", want: Active, at: "198.51.100.7:40201"},
		{text: "eprt |1|198.51.100.7|40202|\r\n", want: Active, at: "198.51.100.7:40202"},
		{text: "EPRT |2|198.51.100.7|40203|\r\n"},
		{text: "EPRT |2|fd00::1|40204|\r\n"},
		{text: "EPRT |2|fd00::1|40204|\r\n", v6: true, want: Active, at: "[fd00::1]:40204"},
		{text: "EPRT |1|198.51.100.7|40205\r\n"},
		{text: "EPRT |1|198.51.100.7|70000|\r\n"},
		{text: "EPRT |1|198.51.100.7|0|\r\n"},
		{text: "EPRT |||40206|\r\n"},
		{text: "EPRT |2|::ffff:1.2.3.4|40207|\r\n", v6: true},
		{text: "EPRT |2|fe80::1%eth0|40208|\r\n", v6: true},
		{text: "EPRT 111111111"},
		{text: "NOOP\r\n"},
		{text: ""},
	} {
		command, at := ParseCommand([]byte(c.text), c.v6)
		require.Equal(t, c.want, command, "%q", c.text)
		if c.at == "" {
			require.False(t, at.IsValid(), "%q", c.text)
			continue
		}
		require.Equal(t, netip.MustParseAddrPort(c.at), at, "%q", c.text)
	}
}

// TestReply likewise; what is rewritten stands between brackets.
func TestReply(t *testing.T) {
	for _, c := range []struct {
		command      Command
		text, at, to string
		v6           bool
	}{
		{Passive, "227 Entering Passive Mode (10,2,0,13,20,1)\r\n", "10.2.0.13:5121", "227 Entering Passive Mode (10,9,0,1,20,1)\r\n", false},
		{Passive, "227 Entering Passive Mode 10,2,0,13,20,2\r\n", "10.2.0.13:5122", "227 Entering Passive Mode 10,9,0,1,20,2\r\n", false},
		{Passive, "227 =10,2,0,13,20,3\r\n", "10.2.0.13:5123", "227 =10,9,0,1,20,3\r\n", false},
		{Passive, "227 Entering Passive Mode (10,2,0,99,20,4)\r\n", "10.2.0.99:5124", "227 Entering Passive Mode (10,9,0,1,20,4)\r\n", false},
		{Passive, "227 Mode 7 (10,2,0,13,20,5)\r\n", "", "", false},
		{Passive, "227-x\r\n227 Entering (10,2,0,13,20,6)\r\n", "", "", false},
		{Passive, "150 a\r\n227 Entering (10,2,0,13,20,7)\r\n", "", "", false},
		{Passive, "227 Entering (10,2,0,13,20,8).\r\nmore", "10.2.0.13:5128", "227 Entering (10,9,0,1,20,8).\r\nmore", false},
		{Passive, "227 Entering (10,2,0,13,20,9)", "10.2.0.13:5129", "227 Entering (10,9,0,1,20,9)", false},
		{Passive, "227 Entering (10,2,0,13,20,10", "", "", false},
		{Passive, "425 no\r\n", "", "", false},
		{CommandNone, "227 Entering (10,2,0,13,20,11)\r\n", "", "", false},
		{Passive, "229 Ok (|||5205|)\r\n", "", "", false},
		{Passive, "227 Entering (10,2,0,13,0,0)\r\n", "", "", false},
		{Passive, "227 Entering (10,2,0,13,300,1)\r\n", "", "", false},
		{Passive, "227 Entering (10, 2,0,13,20,13)\r\n", "", "", false},
		{Passive, "227 Entering (010,002,000,013,020,014)\r\n", "10.2.0.13:5134", "227 Entering (10,9,0,1,20,14)\r\n", false},
		{Passive, "227 none\r\n", "", "", false},
		{ExtendedPassive, "229 Entering Extended Passive Mode (|||5200|)\r\n", ":5200", "229 Entering Extended Passive Mode (|||5200|)\r\n", false},
		{ExtendedPassive, "229 Ok (!!!5201!)\r\n", ":5201", "229 Ok (|||5201|)\r\n", false},
		{ExtendedPassive, "229 Ok (|1|10.2.0.13|5202|)\r\n", "10.2.0.13:5202", "229 Ok (|||5202|)\r\n", false},
		{ExtendedPassive, "229 Ok (|2|fd00:2::13|5202|)\r\n", "[fd00:2::13]:5202", "229 Ok (|||5202|)\r\n", true},
		{ExtendedPassive, "229 Ok (|1|10.2.0.13|5203|) x\r\n", "10.2.0.13:5203", "229 Ok (|||5203|) x\r\n", false},
		{ExtendedPassive, "229 Ok |||5204|\r\n", "", "", false},
		{ExtendedPassive, "227 Entering (10,2,0,13,20,12)\r\n", "", "", false},
		{ExtendedPassive, "229 Ok (|||05209|)\r\n", ":5209", "229 Ok (|||5209|)\r\n", false},
		{ExtendedPassive, "229 Ok (||10.2.0.13|5210|)\r\n", "", "", false},
		{ExtendedPassive, "229 Ok (|||70000|)\r\n", "", "", false},
		{ExtendedPassive, "229 Ok (", "", "", false},
		{ExtendedPassive, "229 Ok (|", "", "", false},
		{ExtendedPassive, "229 Ok (|2|10.2.0.13|5202|)\r\n", "", "", false},
	} {
		a, ok := ParseReply([]byte(c.text), c.command, c.v6)
		require.Equal(t, c.at != "", ok, "%q", c.text)
		if !ok {
			continue
		}
		if c.at[0] == ':' {
			require.False(t, a.At.Addr().IsValid(), "%q", c.text)
			require.Equal(t, c.at, ":"+string(appendNumber(nil, a.At.Port())))
		} else {
			require.Equal(t, c.at, a.At.String(), "%q", c.text)
		}
		vip := netip.AddrPortFrom(netip.MustParseAddr("10.9.0.1"), a.At.Port())
		text := c.text[:a.Start] + string(Announce(nil, c.command, vip)) + c.text[a.End:]
		require.Equal(t, c.to, text)
	}
}

func TestNoAddressNoAllocation(t *testing.T) {
	text, reply, room := []byte("PORT 1,2,3,4,5,6\r\n"), []byte("227 (1,2,3,4,5,6)\r\n"), make([]byte, 0, 64)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		_, at := ParseCommand(text, false)
		ParseReply(reply, Passive, false)
		Announce(room, Passive, at)
	}))
}
