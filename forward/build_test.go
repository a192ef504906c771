package forward

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"

	"usvs/wire"
)

// Addresses of the tests.
var (
	cip4 = netip.MustParseAddrPort("198.51.100.7:40000")
	vip4 = netip.MustParseAddrPort("10.9.0.1:80")
	rip4 = netip.MustParseAddrPort("10.2.0.11:8080")
	cip6 = netip.MustParseAddrPort("[2001:db8::77]:40000")
	vip6 = netip.MustParseAddrPort("[fd00:9::1]:80")
	rip6 = netip.MustParseAddrPort("[fd00:2::12]:8080")
)

var (
	mac1 = wire.MAC{2, 0, 0, 0, 0, 1}
	mac2 = wire.MAC{2, 0, 0, 0, 0, 2}
)

// recipe says how to build a frame.
type recipe struct {
	src, dst netip.AddrPort
	proto    uint8
	payload  []byte
	vlans    int
	bare     bool // no Ethernet header
	df       bool
	id       uint16
	tos      uint8
	ttl      uint8
	options  []byte // IPv4
	tcpFlags uint8
	noCsum   bool // UDP
}

// build returns the frame as gopacket serializes it, and the packet in it.
func (r recipe) build(t testing.TB) (*wire.Frame, *wire.Packet) {
	t.Helper()
	f := wire.NewFrame(wire.MaxFrame)
	f.SetBytes(r.bytes(t))
	if r.bare {
		f.Medium = wire.IP
	}
	return f, parse(t, f)
}

func parse(t testing.TB, f *wire.Frame) *wire.Packet {
	t.Helper()
	p := new(wire.Packet)
	require.Equal(t, wire.None, p.Parse(f.Bytes(), f.Medium))
	return p
}

func (r recipe) bytes(t testing.TB) []byte {
	t.Helper()
	var ls []gopacket.SerializableLayer
	if !r.bare {
		ls = r.link()
	}
	network, ip := r.network()
	ls = append(ls, ip)
	ls = append(ls, r.transport(t, network)...)
	buf := gopacket.NewSerializeBuffer()
	opts := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	require.NoError(t, gopacket.SerializeLayers(buf, opts, ls...))
	b := buf.Bytes()
	if r.noCsum {
		medium := wire.Ethernet
		if r.bare {
			medium = wire.IP
		}
		var p wire.Packet
		require.Equal(t, wire.None, p.Parse(b, medium))
		wire.UDP(p.Transport()).SetChecksum(0)
	}
	return b
}

func (r recipe) link() []gopacket.SerializableLayer {
	final := layers.EthernetTypeIPv4
	if r.src.Addr().Is6() {
		final = layers.EthernetTypeIPv6
	}
	eth := &layers.Ethernet{DstMAC: mac1[:], SrcMAC: mac2[:], EthernetType: final}
	ls := []gopacket.SerializableLayer{eth}
	for i := range r.vlans {
		tag := &layers.Dot1Q{VLANIdentifier: uint16(i + 5), Type: final}
		if i == 0 {
			eth.EthernetType = layers.EthernetTypeDot1Q
		} else {
			ls[i].(*layers.Dot1Q).Type = layers.EthernetTypeDot1Q
		}
		ls = append(ls, tag)
	}
	return ls
}

func (r recipe) network() (gopacket.NetworkLayer, gopacket.SerializableLayer) {
	ttl := r.ttl
	if ttl == 0 {
		ttl = 64
	}
	if r.src.Addr().Is6() {
		ip := &layers.IPv6{Version: 6, TrafficClass: r.tos, NextHeader: layers.IPProtocol(r.proto), HopLimit: ttl,
			SrcIP: r.src.Addr().AsSlice(), DstIP: r.dst.Addr().AsSlice()}
		return ip, ip
	}
	ip := &layers.IPv4{Version: 4, TOS: r.tos, Id: r.id, TTL: ttl, Protocol: layers.IPProtocol(r.proto),
		SrcIP: r.src.Addr().AsSlice(), DstIP: r.dst.Addr().AsSlice()}
	if r.df {
		ip.Flags = layers.IPv4DontFragment
	}
	if r.options != nil {
		// gopacket writes an option's data as it is, and pads by itself.
		ip.Options = []layers.IPv4Option{{OptionType: r.options[0], OptionLength: uint8(len(r.options)), OptionData: r.options[2:]}}
	}
	return ip, ip
}

func (r recipe) transport(t testing.TB, n gopacket.NetworkLayer) []gopacket.SerializableLayer {
	payload := gopacket.Payload(r.payload)
	switch r.proto {
	case wire.ProtoTCP:
		f := r.tcpFlags
		tcp := &layers.TCP{SrcPort: layers.TCPPort(r.src.Port()), DstPort: layers.TCPPort(r.dst.Port()),
			Seq: 1000, Ack: 5, Window: 8192, ACK: true, FIN: f&wire.FlagFIN != 0, SYN: f&wire.FlagSYN != 0,
			PSH: f&wire.FlagPSH != 0, CWR: f&tcpCWR != 0}
		require.NoError(t, tcp.SetNetworkLayerForChecksum(n))
		return []gopacket.SerializableLayer{tcp, payload}
	case wire.ProtoUDP:
		udp := &layers.UDP{SrcPort: layers.UDPPort(r.src.Port()), DstPort: layers.UDPPort(r.dst.Port())}
		require.NoError(t, udp.SetNetworkLayerForChecksum(n))
		return []gopacket.SerializableLayer{udp, payload}
	case wire.ProtoSCTP:
		sctp := &layers.SCTP{SrcPort: layers.SCTPPort(r.src.Port()), DstPort: layers.SCTPPort(r.dst.Port()), VerificationTag: 7}
		return []gopacket.SerializableLayer{sctp, payload}
	}
	return []gopacket.SerializableLayer{payload}
}

// makePartial turns a complete transport checksum into what a sender leaves
// in the field for its device to finish.
func makePartial(f *wire.Frame, p *wire.Packet) {
	off := tcpChecksum
	switch p.Proto {
	case wire.ProtoUDP:
		off = udpChecksum
	case wire.ProtoSCTP:
		off = sctpChecksum
	}
	f.Partial, f.CsumStart, f.CsumOffset = true, uint16(p.L4), uint16(off)
	put16(p.Data[p.L4+off:], wire.Fold(wire.PseudoSum(p.Src, p.Dst, p.Proto, p.End-p.L4)))
}

// requireValid has gopacket, which shares no code with package wire, take the
// frame apart and put it together again, computing every checksum: it must be
// the same frame. A UDP checksum of zero means none.
func requireValid(t testing.TB, f *wire.Frame) {
	t.Helper()
	want := recompute(t, f.Bytes(), f.Medium) // perhaps padded
	require.GreaterOrEqual(t, len(want), f.Len())
	require.Equal(t, hex.EncodeToString(want[:f.Len()]), hex.EncodeToString(f.Bytes()))
}

func recompute(t testing.TB, b []byte, m wire.Medium) []byte {
	t.Helper()
	first := layers.LayerTypeEthernet
	if m == wire.IP {
		if first = layers.LayerTypeIPv4; b[0]>>4 == 6 {
			first = layers.LayerTypeIPv6
		}
	}
	pkt := gopacket.NewPacket(b, first, gopacket.DecodeOptions{})
	if e := pkt.ErrorLayer(); e != nil {
		t.Fatalf("gopacket: %v in %x", e.Error(), b)
	}
	var ls []gopacket.SerializableLayer
	var network gopacket.NetworkLayer
	for _, l := range pkt.Layers() {
		switch l := l.(type) {
		case *layers.IPv4:
			network = l
		case *layers.IPv6:
			network = l
		case *layers.TCP:
			require.NoError(t, l.SetNetworkLayerForChecksum(network))
		case *layers.UDP:
			if l.Checksum == 0 {
				ls = append(ls, gopacket.Payload(l.Contents), gopacket.Payload(l.Payload))
				return serialize(t, ls)
			}
			require.NoError(t, l.SetNetworkLayerForChecksum(network))
		case *layers.ICMPv6:
			require.NoError(t, l.SetNetworkLayerForChecksum(network))
		case *layers.ICMPv6Echo:
			ls = append(ls, gopacket.Payload(l.Contents))
			continue
		}
		ls = append(ls, l.(gopacket.SerializableLayer))
	}
	return serialize(t, ls)
}

func serialize(t testing.TB, ls []gopacket.SerializableLayer) []byte {
	t.Helper()
	buf := gopacket.NewSerializeBuffer()
	require.NoError(t, gopacket.SerializeLayers(buf, gopacket.SerializeOptions{ComputeChecksums: true}, ls...))
	return buf.Bytes()
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	require.NoError(t, err)
	return b
}

// counting is the recordings' payload: 0, 1, 2, ...
func counting(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

// newFrame allocates like a director's pool does.
func newFrame() *wire.Frame { return wire.NewFrame(wire.MaxFrame) }

// collect returns an emit function and what it was given.
func collect() (func(*wire.Frame), *[]*wire.Frame) {
	fs := new([]*wire.Frame)
	return func(f *wire.Frame) { *fs = append(*fs, f) }, fs
}
