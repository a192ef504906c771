package load

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"

	"usvs/wire"
)

const (
	// The ports clients send from: what a flow's number does not put into the
	// port it puts into the address.
	firstPort = 1024
	portBits  = 15
	ports     = 1 << portBits

	ttl = 64
)

// Spec describes UDP flows from many clients to one address.
type Spec struct {
	Src, Dst wire.MAC
	Clients  netip.Addr // the first client; the others follow it
	To       netip.AddrPort
	Flows    int // a power of two
	Size     int // of a frame, without its frame check sequence
}

// Flows makes frames, one flow after the other.
type Flows struct {
	spec    Spec
	headers int    // bytes before the payload
	client  uint32 // the last four bytes of the first client
	srcAt   int    // where those bytes are
	udpAt   int
	ipSum   uint64 // of the IPv4 header without what varies
	udpSum  uint64 // of pseudo-header and datagram without what varies
	next    uint32 // counts frames
}

// NewFlows checks a description.
func NewFlows(s Spec) (*Flows, error) {
	f := &Flows{spec: s}
	if s.Clients.Is4() {
		f.udpAt = wire.EthernetLen + wire.IPv4Len
		f.srcAt = wire.EthernetLen + 12
	} else {
		f.udpAt = wire.EthernetLen + wire.IPv6Len
		f.srcAt = wire.EthernetLen + 8 + 12
	}
	f.headers = f.udpAt + wire.UDPLen
	switch {
	case s.Flows <= 0 || s.Flows&(s.Flows-1) != 0:
		return nil, fmt.Errorf("load: %d flows: want a power of two", s.Flows)
	case s.Clients.Is4() != s.To.Addr().Is4() || !s.Clients.IsValid():
		return nil, fmt.Errorf("load: clients %v and service %v are of different families", s.Clients, s.To)
	case s.Size < f.headers:
		return nil, fmt.Errorf("load: frames of %d bytes: the headers alone are %d", s.Size, f.headers)
	}
	a := s.Clients.AsSlice()
	f.client = binary.BigEndian.Uint32(a[len(a)-4:])
	f.sums()
	return f, nil
}

// Count is how many flows there are.
func (f *Flows) Count() int { return f.spec.Flows }

// Size is how long each frame is.
func (f *Flows) Size() int { return f.spec.Size }

// Template returns a frame that Next can fill in.
func (f *Flows) Template() []byte {
	b := make([]byte, f.spec.Size)
	copy(b[0:], f.spec.Dst[:])
	copy(b[6:], f.spec.Src[:])
	datagram := f.spec.Size - f.udpAt
	ip, udp := b[wire.EthernetLen:f.udpAt], b[f.udpAt:]
	if f.spec.Clients.Is4() {
		binary.BigEndian.PutUint16(b[12:], wire.TypeIPv4)
		ip[0], ip[8], ip[9] = 0x45, ttl, wire.ProtoUDP
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)+datagram))
		copy(ip[16:], f.spec.To.Addr().AsSlice())
	} else {
		binary.BigEndian.PutUint16(b[12:], wire.TypeIPv6)
		ip[0], ip[6], ip[7] = 0x60, wire.ProtoUDP, ttl
		binary.BigEndian.PutUint16(ip[4:], uint16(datagram))
		copy(ip[8:], f.spec.Clients.AsSlice())
		clear(ip[20:24])
		copy(ip[24:], f.spec.To.Addr().AsSlice())
	}
	binary.BigEndian.PutUint16(udp[2:], f.spec.To.Port())
	binary.BigEndian.PutUint16(udp[4:], uint16(datagram))
	return b
}

// sums prepares the checksums: the sums of all that does not vary.
func (f *Flows) sums() {
	b := f.Template()
	ip, udp := b[wire.EthernetLen:f.udpAt], b[f.udpAt:]
	first := ip[8:24] // IPv6: the client, without the bytes that vary
	if f.spec.Clients.Is4() {
		f.ipSum = wire.Sum(ip, 0)
		first = ip[12:16]
	}
	client, _ := netip.AddrFromSlice(first)
	f.udpSum = wire.Sum(udp, wire.PseudoSum(client, f.spec.To.Addr(), wire.ProtoUDP, len(udp)))
}

// Next makes a frame that Template returned the next flow's. Each flow's turn
// comes once before any comes again.
func (f *Flows) Next(b []byte) {
	flow := f.turn(f.next)
	f.next++
	client, port := f.client+flow/ports, firstPort+flow%ports
	binary.BigEndian.PutUint32(b[f.srcAt:], client)
	varies := uint64(client>>16) + uint64(client&0xffff)
	if f.ipSum != 0 {
		binary.BigEndian.PutUint16(b[wire.EthernetLen+10:], ^wire.Fold(f.ipSum+varies))
	}
	binary.BigEndian.PutUint16(b[f.udpAt:], uint16(port))
	sum := ^wire.Fold(f.udpSum + varies + uint64(port))
	if sum == 0 {
		sum = 0xffff // RFC 768: 0 would say that there is none
	}
	binary.BigEndian.PutUint16(b[f.udpAt+6:], sum)
}

// turn is whose turn it is: every time round all flows in another order, without
// locality. Who keeps connections in the order of their first frames must not
// be able to tell which comes next.
func (f *Flows) turn(n uint32) uint32 {
	mask := uint32(f.spec.Flows - 1)
	half := max(bits.Len32(mask)/2, 1)
	round := n >> bits.Len32(mask)
	x := n * (round*0x9e3779b2 + 1) & mask                    // odd factors lose nothing
	for _, odd := range [...]uint32{0x85ebca6b, 0xc2b2ae35} { // MurmurHash3's
		x = x * odd & mask
		x ^= x >> half
	}
	return x & mask
}
