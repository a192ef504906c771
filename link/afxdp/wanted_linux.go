package afxdp

import (
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

func addrKeys(list []netip.Addr) map[string]struct{} {
	keys := map[string]struct{}{}
	for _, a := range list {
		b := a.As16()
		keys[string(b[:])] = struct{}{}
	}
	return keys
}

func endpointKeys(list []Endpoint) map[string]struct{} {
	keys := map[string]struct{}{}
	for _, e := range list {
		protocols := []uint8{e.Protocol}
		if e.Protocol == 0 {
			protocols = []uint8{wire.ProtoTCP, wire.ProtoUDP, wire.ProtoSCTP}
		}
		for _, p := range protocols {
			b := e.Addr.As16()
			key := binary.BigEndian.AppendUint16(b[:], e.Port)
			key = binary.NativeEndian.AppendUint16(key, uint16(p))
			keys[string(key)] = struct{}{}
		}
	}
	return keys
}

// table is one of the program's tables and what it holds.
type table struct {
	m    *ebpf.Map
	have map[string]struct{}
}

// set makes the table hold exactly want. New keys come first, so that nothing
// wanted is missing meanwhile.
func (t *table) set(want map[string]struct{}) error {
	var errs []error
	for key := range want {
		if _, ok := t.have[key]; ok {
			continue
		}
		if err := t.m.Put([]byte(key), uint8(1)); err != nil {
			errs = append(errs, err)
			continue
		}
		t.have[key] = struct{}{}
	}
	for key := range t.have {
		if _, ok := want[key]; ok {
			continue
		}
		if err := t.m.Delete([]byte(key)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			errs = append(errs, err)
			continue
		}
		delete(t.have, key)
	}
	if len(errs) > 0 {
		return fmt.Errorf("%d of %d entries: %w", len(errs), len(want), errs[0])
	}
	return nil
}

// tables are the program's tables by what they are for.
type tables struct{ addrs, services, servers, locals table }

func newTables(m *maps) *tables {
	of := func(m *ebpf.Map) table { return table{m, map[string]struct{}{}} }
	return &tables{of(m.addrs), of(m.services), of(m.servers), of(m.locals)}
}

// set makes the program take what w says. The host's addresses come first, so
// that no new server's packet to them is taken.
func (t *tables) set(w Wanted) error {
	return errors.Join(
		t.locals.set(addrKeys(w.Locals)),
		t.addrs.set(addrKeys(w.Addrs)),
		t.services.set(endpointKeys(w.Services)),
		t.servers.set(endpointKeys(w.Servers)),
	)
}
