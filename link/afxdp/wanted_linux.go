package afxdp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"

	"usvs/wire"
)

// Endpoint is a protocol, an address and a port. Protocol 0 stands for TCP, UDP
// and SCTP, port 0 for any port.
type Endpoint struct {
	Protocol uint8
	Addr     netip.Addr
	Port     uint16
}

// Wanted says which packets are taken for the director.
type Wanted struct {
	Addrs    []netip.Addr // to these, whatever they carry
	Services []Endpoint   // to these, if their address is in Locals
	Servers  []Endpoint   // from these, unless to one of Locals
	Locals   []netip.Addr // the host's own
}

// Keys of the program's tables. An IPv4 address is in its mapped form; the
// protocol is 16 bits wide, in the machine's byte order, so that nothing is
// left undefined.
const (
	addrLen  = 16
	keyPort  = 16
	keyProto = 18
	keyLen   = 20
)

type (
	addrKey     [addrLen]byte
	endpointKey [keyLen]byte
)

// The entry of the settings table.
const (
	settingsMAC    = 0
	settingsMaxLen = 8
	settingsLen    = 12
)

func settingsOf(mac wire.MAC, maxLen int) []byte {
	b := make([]byte, settingsLen)
	copy(b[settingsMAC:], mac[:])
	binary.NativeEndian.PutUint32(b[settingsMaxLen:], uint32(maxLen))
	return b
}

func addrKeys(list []netip.Addr) []addrKey {
	keys := make([]addrKey, len(list))
	for i, a := range list {
		keys[i] = a.As16()
	}
	return keys
}

// endpointKeys may name a key more than once: an endpoint of every protocol is
// three keys, which may be other endpoints' as well.
func endpointKeys(list []Endpoint) []endpointKey {
	keys := make([]endpointKey, 0, len(list))
	for _, e := range list {
		protocols := []uint8{e.Protocol}
		if e.Protocol == 0 {
			protocols = []uint8{wire.ProtoTCP, wire.ProtoUDP, wire.ProtoSCTP}
		}
		for _, p := range protocols {
			var k endpointKey
			b := e.Addr.As16()
			copy(k[:], b[:])
			binary.BigEndian.PutUint16(k[keyPort:], e.Port)
			binary.NativeEndian.PutUint16(k[keyProto:], uint16(p))
			keys = append(keys, k)
		}
	}
	return keys
}

// table is one of the program's tables and what it is to hold.
type table[K comparable] struct {
	m       *ebpf.Map
	wanted  map[K]int      // how often
	missing map[K]struct{} // those of them that are not in the program's table
}

func newTable[K comparable](m *ebpf.Map) *table[K] {
	return &table[K]{m, map[K]int{}, map[K]struct{}{}}
}

// change makes the table hold what is added, and no longer what is dropped as
// often as it was added. New keys come first, so that nothing wanted is missing
// meanwhile, unless they need the room of old ones.
func (t *table[K]) change(add, drop []K) error {
	for _, k := range add {
		if t.wanted[k]++; t.wanted[k] == 1 {
			t.missing[k] = struct{}{}
		}
	}
	var gone []K
	for _, k := range drop {
		if t.wanted[k]--; t.wanted[k] > 0 {
			continue
		}
		delete(t.wanted, k)
		if _, ok := t.missing[k]; !ok {
			gone = append(gone, k)
		}
		delete(t.missing, k)
	}
	err := t.put()
	if len(gone) == 0 {
		return err
	}
	return errors.Join(t.remove(gone), t.put())
}

// put adds what is missing, as far as there is room.
func (t *table[K]) put() error {
	if len(t.missing) == 0 {
		return nil
	}
	keys := make([]K, 0, len(t.missing))
	for k := range t.missing {
		keys = append(keys, k)
	}
	n, err := t.m.BatchUpdate(keys, bytes.Repeat([]byte{1}, len(keys)), nil)
	if err != nil {
		err = fmt.Errorf("%d of %d entries: %w", len(keys)-n, len(t.wanted), err)
	}
	for _, k := range keys[:n] {
		delete(t.missing, k)
	}
	return err
}

// remove removes keys that the table holds.
func (t *table[K]) remove(keys []K) error {
	if n, err := t.m.BatchDelete(keys, nil); err != nil {
		return fmt.Errorf("%d of %d entries not removed: %w", len(keys)-n, len(keys), err)
	}
	return nil
}

// tables are the program's tables by what they are for.
type tables struct {
	addrs, locals     *table[addrKey]
	services, servers *table[endpointKey]
}

func newTables(m *maps) *tables {
	return &tables{
		addrs: newTable[addrKey](m.addrs), locals: newTable[addrKey](m.locals),
		services: newTable[endpointKey](m.services), servers: newTable[endpointKey](m.servers),
	}
}

// change makes the program take what add says, and leave what drop says. The
// host's addresses come first, so that no new server's packet to them is taken.
func (t *tables) change(add, drop Wanted) error {
	return errors.Join(
		t.locals.change(addrKeys(add.Locals), addrKeys(drop.Locals)),
		t.addrs.change(addrKeys(add.Addrs), addrKeys(drop.Addrs)),
		t.services.change(endpointKeys(add.Services), endpointKeys(drop.Services)),
		t.servers.change(endpointKeys(add.Servers), endpointKeys(drop.Servers)),
	)
}
