package afxdp

import (
	"encoding/binary"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"usvs/wire"
)

// Return values of an XDP program (linux/bpf.h).
const xdpPass = 2

// Offsets in struct xdp_md.
const (
	ctxData    = 0
	ctxDataEnd = 4
	ctxQueue   = 16
)

// What the program keeps on its stack. An endpoint key is as in keys.go.
const (
	stackDst   = -24 // endpoint key of the destination
	stackSrc   = -48 // and of the source
	stackIndex = -52 // of the one entry of the settings
)

// Registers that survive helper calls.
const (
	regCtx   = asm.R6
	regAt    = asm.R7 // the header under inspection
	regEnd   = asm.R8 // behind the frame
	regProto = asm.R9 // transport protocol, 0 if there are no ports; at first the length
)

// instructions is the XDP program. It reads like the rules in doc.go, top down;
// label "pass" leaves a frame to the host, "take" gives it to the director.
func instructions(m *maps) asm.Instructions {
	return concat(
		enter(m.settings),
		parseIPv4(),
		parseIPv6(),
		parsePorts(),
		decide(m),
		leave(m.sockets),
	)
}

func concat(parts ...asm.Instructions) (all asm.Instructions) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// enter passes frames that are too long, or not to the interface's own MAC, and
// splits the rest by EtherType.
func enter(settings *ebpf.Map) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(regCtx, asm.R1),
		asm.LoadMem(regAt, regCtx, ctxData, asm.Word),
		asm.LoadMem(regEnd, regCtx, ctxDataEnd, asm.Word),
		asm.FnXdpGetBuffLen.Call(), // subtracting pointers would take CAP_PERFMON
		asm.Mov.Reg(regProto, asm.R0),
		asm.StoreImm(asm.RFP, stackIndex, 0, asm.Word),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, stackIndex),
		asm.LoadMapPtr(asm.R1, settings.FD()),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "pass"),
		asm.LoadMem(asm.R1, asm.R0, settingsMaxLen, asm.Word),
		asm.JGT.Reg(regProto, asm.R1, "pass"),
		asm.Mov.Reg(asm.R1, regAt),
		asm.Add.Imm(asm.R1, wire.EthernetLen),
		asm.JGT.Reg(asm.R1, regEnd, "pass"),
		asm.LoadMem(asm.R1, regAt, 0, asm.Word),
		asm.LoadMem(asm.R2, asm.R0, settingsMAC, asm.Word),
		asm.JNE.Reg(asm.R1, asm.R2, "pass"),
		asm.LoadMem(asm.R1, regAt, 4, asm.Half),
		asm.LoadMem(asm.R2, asm.R0, settingsMAC+4, asm.Half),
		asm.JNE.Reg(asm.R1, asm.R2, "pass"),
		asm.LoadMem(asm.R1, regAt, 12, asm.Half),
		asm.JEq.Imm(asm.R1, be(wire.TypeIPv4), "ipv4"),
		asm.JEq.Imm(asm.R1, be(wire.TypeIPv6), "ipv6"),
		asm.Ja.Label("pass"),
	}
}

// be is a 16-bit field of a frame as a load of the machine's byte order sees it.
func be(v uint16) int32 {
	return int32(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v)))
}

// mapped is the word in front of an IPv4 address in its 16-byte form.
var mapped = int32(binary.NativeEndian.Uint32([]byte{0, 0, 0xff, 0xff}))

// parseIPv4 fills in the addresses. Ports are looked for behind a header
// without options of a packet in one piece.
func parseIPv4() asm.Instructions {
	const ip = wire.EthernetLen
	is := asm.Instructions{
		asm.Mov.Reg(asm.R1, regAt).WithSymbol("ipv4"),
		asm.Add.Imm(asm.R1, ip+wire.IPv4Len),
		asm.JGT.Reg(asm.R1, regEnd, "pass"),
	}
	for _, a := range [][2]int16{{stackSrc, ip + 12}, {stackDst, ip + 16}} {
		key, field := a[0], a[1]
		is = append(is,
			asm.StoreImm(asm.RFP, key, 0, asm.Word),
			asm.StoreImm(asm.RFP, key+4, 0, asm.Word),
			asm.StoreImm(asm.RFP, key+8, int64(mapped), asm.Word),
			asm.LoadMem(asm.R1, regAt, field, asm.Word),
			asm.StoreMem(asm.RFP, key+12, asm.R1, asm.Word),
		)
	}
	return append(is,
		asm.Mov.Imm(regProto, 0),
		asm.LoadMem(asm.R1, regAt, ip, asm.Byte),
		asm.JNE.Imm(asm.R1, 0x45, "addresses"),
		asm.LoadMem(asm.R1, regAt, ip+6, asm.Half),
		asm.And.Imm(asm.R1, be(0x3fff)), // more fragments, or an offset
		asm.JNE.Imm(asm.R1, 0, "addresses"),
		asm.LoadMem(regProto, regAt, ip+9, asm.Byte),
		asm.Add.Imm(regAt, ip+wire.IPv4Len),
		asm.Ja.Label("ports"),
	)
}

// parseIPv6 does the same; ports are looked for right behind the fixed header.
func parseIPv6() asm.Instructions {
	const ip = wire.EthernetLen
	is := asm.Instructions{
		asm.Mov.Reg(asm.R1, regAt).WithSymbol("ipv6"),
		asm.Add.Imm(asm.R1, ip+wire.IPv6Len),
		asm.JGT.Reg(asm.R1, regEnd, "pass"),
	}
	for _, a := range [][2]int16{{stackSrc, ip + 8}, {stackDst, ip + 24}} {
		key, field := a[0], a[1]
		for i := int16(0); i < 16; i += 4 {
			is = append(is,
				asm.LoadMem(asm.R1, regAt, field+i, asm.Word),
				asm.StoreMem(asm.RFP, key+i, asm.R1, asm.Word),
			)
		}
	}
	return append(is,
		asm.LoadMem(regProto, regAt, ip+6, asm.Byte),
		asm.Add.Imm(regAt, ip+wire.IPv6Len),
	)
}

// parsePorts completes both endpoints, or says that there are none.
func parsePorts() asm.Instructions {
	return asm.Instructions{
		asm.JEq.Imm(regProto, wire.ProtoTCP, "balanced").WithSymbol("ports"),
		asm.JEq.Imm(regProto, wire.ProtoUDP, "balanced"),
		asm.JEq.Imm(regProto, wire.ProtoSCTP, "balanced"),
		asm.Ja.Label("no ports"),
		asm.Mov.Reg(asm.R1, regAt).WithSymbol("balanced"),
		asm.Add.Imm(asm.R1, 4),
		asm.JGT.Reg(asm.R1, regEnd, "no ports"),
		asm.LoadMem(asm.R1, regAt, 0, asm.Half),
		asm.StoreMem(asm.RFP, stackSrc+keyPort, asm.R1, asm.Half),
		asm.LoadMem(asm.R1, regAt, 2, asm.Half),
		asm.StoreMem(asm.RFP, stackDst+keyPort, asm.R1, asm.Half),
		asm.StoreMem(asm.RFP, stackSrc+keyProto, regProto, asm.Half),
		asm.StoreMem(asm.RFP, stackDst+keyProto, regProto, asm.Half),
		asm.Ja.Label("addresses"),
		asm.Mov.Imm(regProto, 0).WithSymbol("no ports"),
	}
}

// decide looks the packet up in what the director wants.
func decide(m *maps) asm.Instructions {
	first := lookup(m.addrs, stackDst)
	first[0] = first[0].WithSymbol("addresses")
	anyPort := func(key int16) asm.Instructions {
		return asm.Instructions{asm.StoreImm(asm.RFP, key+keyPort, 0, asm.Half)}
	}
	local := lookup(m.locals, stackDst)
	elsewhere := lookup(m.servers, stackSrc)
	elsewhere[0] = elsewhere[0].WithSymbol("elsewhere")
	return concat(
		first, then("take"),
		asm.Instructions{asm.JEq.Imm(regProto, 0, "pass")},
		local, asm.Instructions{asm.JEq.Imm(asm.R0, 0, "elsewhere")},
		lookup(m.services, stackDst), then("take"),
		anyPort(stackDst),
		lookup(m.services, stackDst), then("take"),
		asm.Instructions{asm.Ja.Label("pass")},
		elsewhere, then("take"),
		anyPort(stackSrc),
		lookup(m.servers, stackSrc), then("take"),
		asm.Instructions{asm.Ja.Label("pass")},
	)
}

// lookup looks the key on the stack up.
func lookup(m *ebpf.Map, key int32) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, key),
		asm.LoadMapPtr(asm.R1, m.FD()),
		asm.FnMapLookupElem.Call(),
	}
}

func then(label string) asm.Instructions {
	return asm.Instructions{asm.JNE.Imm(asm.R0, 0, label)}
}

// leave hands the frame to the socket of its queue, or to the host if there is
// none.
func leave(sockets *ebpf.Map) asm.Instructions {
	return asm.Instructions{
		asm.LoadMapPtr(asm.R1, sockets.FD()).WithSymbol("take"),
		asm.LoadMem(asm.R2, regCtx, ctxQueue, asm.Word),
		asm.Mov.Imm(asm.R3, xdpPass),
		asm.FnRedirectMap.Call(),
		asm.Return(),
		asm.Mov.Imm(asm.R0, xdpPass).WithSymbol("pass"),
		asm.Return(),
	}
}

// maps are what the program and the device share.
type maps struct {
	settings *ebpf.Map // array of one: settings
	addrs    *ebpf.Map // address: ours, whatever the packet
	services *ebpf.Map // endpoint key: packets to there, while the host carries the address
	servers  *ebpf.Map // endpoint key: packets from there, unless to the host
	locals   *ebpf.Map // address: the host's own
	sockets  *ebpf.Map // queue: XDP socket
}

// The sizes of the tables. What finds no room is left to the packet socket.
const (
	maxAddrs    = 1 << 16
	maxServices = 1 << 17
	maxServers  = 1 << 18
)

func newMaps() (*maps, error) {
	m := &maps{}
	table := func(name string, keyLen, size uint32) *ebpf.MapSpec {
		return &ebpf.MapSpec{
			Name: name, Type: ebpf.Hash, KeySize: keyLen, ValueSize: 1,
			MaxEntries: size, Flags: unix.BPF_F_NO_PREALLOC,
		}
	}
	for _, want := range []struct {
		to   **ebpf.Map
		spec *ebpf.MapSpec
	}{
		{&m.settings, &ebpf.MapSpec{Name: "usvs_settings", Type: ebpf.Array, KeySize: 4, ValueSize: settingsLen, MaxEntries: 1}},
		{&m.addrs, table("usvs_addrs", addrLen, maxAddrs)},
		{&m.services, table("usvs_services", keyLen, maxServices)},
		{&m.servers, table("usvs_servers", keyLen, maxServers)},
		{&m.locals, table("usvs_locals", addrLen, maxAddrs)},
		{&m.sockets, &ebpf.MapSpec{Name: "usvs_sockets", Type: ebpf.XSKMap, KeySize: 4, ValueSize: 4, MaxEntries: maxQueues}},
	} {
		made, err := ebpf.NewMap(want.spec)
		if err != nil {
			m.close()
			return nil, err
		}
		*want.to = made
	}
	return m, nil
}

func (m *maps) close() {
	for _, one := range []*ebpf.Map{m.settings, m.addrs, m.services, m.servers, m.locals, m.sockets} {
		_ = one.Close() // of nil: nothing
	}
}

func newProgram(m *maps) (*ebpf.Program, error) {
	return ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "usvs", Type: ebpf.XDP, Instructions: instructions(m), License: "Apache-2.0",
	})
}
