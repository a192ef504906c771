package procnet

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
)

// fixed is a director that stands still.
type fixed struct {
	services []ipvs.ServiceEntry
	conns    []ipvs.ConnEntry
	err      error
}

func (f *fixed) Info() (ipvs.Info, error) {
	return ipvs.Info{Version: [3]int{1, 2, 1}, ConnTableSize: 4096}, f.err
}
func (f *fixed) Services() ([]ipvs.ServiceEntry, error) { return f.services, f.err }
func (f *fixed) Totals() ipvs.Stats {
	return ipvs.Stats{Conns: 1, InPkts: 0x1c, OutPkts: 3, InBytes: 0xabcdef, OutBytes: 5, CPS: 6, InPPS: 7, OutPPS: 8, InBPS: 0x9a, OutBPS: 1}
}
func (f *fixed) Live() ipvs.Stats { return ipvs.Stats{Conns: 255, OutBytes: 16} }
func (f *fixed) Apps() []App      { return []App{{ipvs.TCP, 21, 2, "ftp"}} }
func (f *fixed) Connections(yield func(*ipvs.ConnEntry) bool) error {
	for i := range f.conns {
		if !yield(&f.conns[i]) {
			break
		}
	}
	return f.err
}

func written(t *testing.T, name string, f *fixed) string {
	var b bytes.Buffer
	require.NoError(t, Write(&b, name, f))
	return b.String()
}

var (
	addr     = netip.MustParseAddr
	addrPort = netip.MustParseAddrPort
)

func TestServices(t *testing.T) {
	f := &fixed{services: []ipvs.ServiceEntry{
		{ID: ipvs.ServiceID{Family: ipvs.IPv4, Protocol: ipvs.TCP, Addr: addr("10.9.0.1"), Port: 80},
			Spec: ipvs.ServiceSpec{Scheduler: "rr"},
			Servers: []ipvs.ServerEntry{
				{ID: ipvs.ServerID{Addr: addr("10.1.0.1"), Port: 80}, Spec: ipvs.ServerSpec{Method: ipvs.DirectRoute, Weight: 1}, Inactive: 1},
				{ID: ipvs.ServerID{Addr: addr("10.2.0.12"), Port: 8080}, Spec: ipvs.ServerSpec{Method: ipvs.Masquerade, Weight: 65535}, Active: 1},
			}},
		{ID: ipvs.ServiceID{Family: ipvs.IPv6, Protocol: ipvs.TCP, Addr: addr("fd00:9::2"), Port: 80},
			Spec: ipvs.ServiceSpec{Scheduler: "rr", Flags: ipvs.FlagPersistent | ipvs.FlagOnePacket, Timeout: 50, PrefixLen: 64},
			Servers: []ipvs.ServerEntry{
				{ID: ipvs.ServerID{Addr: addr("fd00:2::12"), Port: 80}, Spec: ipvs.ServerSpec{Method: ipvs.Tunnel, Weight: 1}}}},
		{ID: ipvs.ServiceID{Family: ipvs.IPv4, Protocol: ipvs.UDP, Addr: addr("10.9.0.2"), Port: 53},
			Spec: ipvs.ServiceSpec{Scheduler: "wlc", Flags: ipvs.FlagPersistent, Timeout: 60, Netmask: addr("255.255.255.0")}},
		{ID: ipvs.ServiceID{Family: ipvs.IPv4, Protocol: ipvs.UDP, Addr: addr("10.9.0.3"), Port: 53},
			Spec: ipvs.ServiceSpec{Scheduler: "rr", Flags: ipvs.FlagOnePacket}},
		{ID: ipvs.ServiceID{Family: ipvs.IPv4, Mark: 7},
			Spec: ipvs.ServiceSpec{Scheduler: "wrr", Flags: ipvs.FlagPersistent | ipvs.FlagOnePacket, Timeout: 300}},
		{ID: ipvs.ServiceID{Family: ipvs.IPv6, Mark: 9},
			Spec: ipvs.ServiceSpec{Scheduler: "rr", Flags: ipvs.FlagPersistent, Timeout: 100, PrefixLen: 64}},
	}}
	require.Equal(t, `IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A090001:0050 rr  
  -> 0A010001:0050      Route   1      0          1         
  -> 0A02000C:1F90      Masq    65535  1          0         
TCP  [fd00:0009:0000:0000:0000:0000:0000:0002]:0050 rr persistent 5000 40000000
  -> [fd00:0002:0000:0000:0000:0000:0000:0012]:0050      Tunnel  1      0          0         
UDP  0A090002:0035 wlc  persistent 6000 FFFFFF00
UDP  0A090003:0035 rr ops  
FWM  00000007 wrr ops persistent 30000 FFFFFFFF
FWM  00000009 rr persistent 10000 40000000
`, written(t, "ip_vs", f))
}

func TestConnections(t *testing.T) {
	f := &fixed{conns: []ipvs.ConnEntry{
		{Protocol: ipvs.TCP, Client: addrPort("198.51.100.3:3002"), Virtual: addrPort("10.9.0.1:80"), Real: addrPort("10.2.0.12:8080"), State: "SYN_RECV", Expires: 57},
		{Protocol: ipvs.TCP, Client: addrPort("[2001:db8::]:0"), Virtual: addrPort("[fd00:9::2]:80"), Real: addrPort("10.2.0.12:80"), State: "NONE", Expires: -1, Synced: true},
		{Protocol: ipvs.UDP, Client: addrPort("198.51.100.0:0"), Virtual: addrPort("10.9.0.2:53"), Real: addrPort("10.2.0.11:5353"), State: "ASSURED", Expires: 297, PEName: "sip", PEData: "call@x"},
	}}
	require.Equal(t, `Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData
TCP C6336403 0BBA 0A090001 0050 0A02000C 1F90 SYN_RECV         57
TCP 2001:0db8:0000:0000:0000:0000:0000:0000 0000 fd00:0009:0000:0000:0000:0000:0000:0002 0050 0A02000C 0050 NONE              0
UDP C6336400 0000 0A090002 0035 0A02000B 14E9 ASSURED         297 sip call@x
`, written(t, "ip_vs_conn", f))
	require.Equal(t, `Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Origin Expires
TCP C6336403 0BBA 0A090001 0050 0A02000C 1F90 SYN_RECV    LOCAL       57
TCP 2001:0db8:0000:0000:0000:0000:0000:0000 0000 fd00:0009:0000:0000:0000:0000:0000:0002 0050 0A02000C 0050 NONE        SYNC         0
UDP C6336400 0000 0A090002 0035 0A02000B 14E9 ASSURED     LOCAL      297
`, written(t, "ip_vs_conn_sync", f))
}

func TestCounters(t *testing.T) {
	f := &fixed{}
	require.Equal(t, `   Total Incoming Outgoing         Incoming         Outgoing
   Conns  Packets  Packets            Bytes            Bytes
       1       1C        3           ABCDEF                5

 Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s
       6        7        8               9A                1
`, written(t, "ip_vs_stats", f))
	require.Equal(t, `       Total Incoming Outgoing         Incoming         Outgoing
CPU    Conns  Packets  Packets            Bytes            Bytes
  0       FF        0        0                0               10
  ~        1       1C        3           ABCDEF                5

     Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s
           6        7        8               9A                1
`, written(t, "ip_vs_stats_percpu", f))
	require.Equal(t, "prot port    usecnt name\nTCP  21      2      ftp              \n", written(t, "ip_vs_app", f))
}

func TestErrors(t *testing.T) {
	require.Equal(t, []string{"ip_vs", "ip_vs_app", "ip_vs_conn", "ip_vs_conn_sync", "ip_vs_stats", "ip_vs_stats_percpu"}, Names())
	require.ErrorIs(t, Write(&bytes.Buffer{}, "ip_vs_none", &fixed{}), ipvs.ErrNoEntry)
	gone := errors.New("gone")
	for _, name := range []string{"ip_vs", "ip_vs_conn", "ip_vs_conn_sync"} {
		require.ErrorIs(t, Write(&bytes.Buffer{}, name, &fixed{err: gone}), gone)
	}
}

// A reader that goes away ends a listing.
func TestReaderGone(t *testing.T) {
	f := &fixed{conns: make([]ipvs.ConnEntry, 1000)}
	for _, name := range []string{"ip_vs_conn", "ip_vs_conn_sync"} {
		require.Error(t, Write(closed{}, name, f))
	}
}

type closed struct{}

func (closed) Write([]byte) (int, error) { return 0, errors.New("closed") }
