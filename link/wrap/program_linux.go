package wrap

import (
	"encoding/binary"

	"github.com/cilium/ebpf/asm"

	"usvs/wire"
)

// From linux/bpf.h.
const (
	ctxProtocol = 16 // offsets in struct __sk_buff
	ctxGSOSize  = 176

	roomMAC   = 1      // BPF_ADJ_ROOM_MAC: right behind the Ethernet header
	fixedSize = 1 << 0 // BPF_F_ADJ_ROOM_FIXED_GSO: segments stay as long as they were
	encap4    = 1 << 1 // BPF_F_ADJ_ROOM_ENCAP_L3_IPV4
	encap6    = 1 << 2
	encapGRE  = 1 << 3 // BPF_F_ADJ_ROOM_ENCAP_L4_GRE
	encapUDP  = 1 << 4
	decap4    = 1 << 7 // BPF_F_ADJ_ROOM_DECAP_L3_IPV4
	decap6    = 1 << 8

	actionNext = -1 // TCX_NEXT: as if nobody had looked
	actionDrop = 2  // TCX_DROP
)

// Where the outer headers say what follows, from the start of the frame or of
// what follows the outer IP header, and how long that is.
const (
	proto4At   = wire.EthernetLen + 9
	proto6At   = wire.EthernetLen + 6
	greLen     = 4
	greProtoAt = 2 // the first byte of an EtherType
	gueLen     = wire.UDPLen + 4
	gueProtoAt = wire.UDPLen + 1
)

// What the program keeps on its stack: the outer headers, and a byte.
const (
	stackOuter = -64
	stackByte  = -72
)

// What the program remembers of a frame.
const (
	regCtx   = asm.R6
	regLen   = asm.R7 // of the outer headers
	regInner = asm.R8 // how the inner packet is called when they are off
	regOuter = asm.R9 // and how they are called when they are on again
)

// instructions of the program for the socket of that cookie.
func instructions(cookie uint64) asm.Instructions {
	is := asm.Instructions{
		asm.Mov.Reg(regCtx, asm.R1),
		asm.LoadMem(asm.R1, regCtx, ctxGSOSize, asm.Word),
		asm.JEq.Imm(asm.R1, 0, "next"),
		asm.Mov.Reg(asm.R1, regCtx),
		asm.FnGetSocketCookie.Call(),
		asm.LoadImm(asm.R1, int64(cookie), asm.DWord),
		asm.JNE.Reg(asm.R0, asm.R1, "next"),
		asm.LoadMem(asm.R1, regCtx, ctxProtocol, asm.Word),
		asm.JEq.Imm(asm.R1, be(wire.TypeIPv4), "ipv4"),
		asm.JEq.Imm(asm.R1, be(wire.TypeIPv6), "ipv6"),
		asm.Ja.Label("drop"),
	}
	is = append(is, outerHeader("ipv4", wire.IPv4Len, proto4At, encap4)...)
	is = append(is, asm.Ja.Label("shim"))
	is = append(is, outerHeader("ipv6", wire.IPv6Len, proto6At, encap6)...)
	is = append(is, shims()...)
	return append(is, again()...)
}

// be is a 16-bit field of a frame as a load of the machine's byte order sees it.
func be(v uint16) int32 {
	return int32(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v)))
}

// outerHeader notes the outer IP header's length and kind, and leaves its
// protocol in R1.
func outerHeader(label string, length, protoAt, kind int32) asm.Instructions {
	is := asm.Instructions{
		asm.Mov.Imm(regLen, length).WithSymbol(label),
		asm.Mov.Imm(regOuter, fixedSize|kind),
		asm.Mov.Imm(asm.R2, protoAt),
	}
	return append(is, readByte()...)
}

// readByte reads the frame's byte at R2 to R1.
func readByte() asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(asm.R1, regCtx),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, stackByte),
		asm.Mov.Imm(asm.R4, 1),
		asm.FnSkbLoadBytes.Call(),
		asm.JNE.Imm(asm.R0, 0, "drop"),
		asm.LoadMem(asm.R1, asm.RFP, stackByte, asm.Byte),
	}
}

// shims finds out, the outer protocol being in R1, what the inner packet is, and
// counts what is in front of it.
func shims() asm.Instructions {
	is := asm.Instructions{
		asm.JEq.Imm(asm.R1, int32(wire.ProtoIPIP), "inner4").WithSymbol("shim"),
		asm.JEq.Imm(asm.R1, int32(wire.ProtoIPv6), "inner6"),
		asm.JEq.Imm(asm.R1, int32(wire.ProtoGRE), "gre"),
		asm.JNE.Imm(asm.R1, int32(wire.ProtoUDP), "drop"),
	}
	is = append(is, shim(gueProtoAt, gueLen, encapUDP, int32(wire.ProtoIPIP), int32(wire.ProtoIPv6))...)
	gre := shim(greProtoAt, greLen, encapGRE, wire.TypeIPv4>>8, wire.TypeIPv6>>8)
	gre[0] = gre[0].WithSymbol("gre")
	is = append(is, gre...)
	return append(is,
		asm.Mov.Imm(regInner, fixedSize|decap6).WithSymbol("inner6"),
		asm.Ja.Label("again"),
		asm.Mov.Imm(regInner, fixedSize|decap4).WithSymbol("inner4"),
	)
}

// shim looks at the byte of a shim that says whether IPv4 or IPv6 follows it.
func shim(protoAt, length, kind, is4, is6 int32) asm.Instructions {
	is := asm.Instructions{
		asm.Mov.Reg(asm.R2, regLen),
		asm.Add.Imm(asm.R2, wire.EthernetLen+protoAt),
		asm.Add.Imm(regLen, length),
		asm.Or.Imm(regOuter, kind),
	}
	is = append(is, readByte()...)
	return append(is,
		asm.JEq.Imm(asm.R1, is4, "inner4"),
		asm.JEq.Imm(asm.R1, is6, "inner6"),
		asm.Ja.Label("drop"),
	)
}

// again takes the outer headers off and puts them on again.
func again() asm.Instructions {
	is := asm.Instructions{asm.Mov.Reg(asm.R1, regCtx).WithSymbol("again")}
	is = append(is, headers()...)
	is = append(is,
		asm.Mov.Reg(asm.R4, regLen),
		asm.FnSkbLoadBytes.Call(),
		asm.JNE.Imm(asm.R0, 0, "drop"),
		asm.Mov.Reg(asm.R1, regCtx),
		asm.Mov.Reg(asm.R2, regLen),
		asm.Neg.Imm(asm.R2, 0),
		asm.Mov.Imm(asm.R3, roomMAC),
		asm.Mov.Reg(asm.R4, regInner),
		asm.FnSkbAdjustRoom.Call(),
		asm.JNE.Imm(asm.R0, 0, "drop"),
		asm.Mov.Reg(asm.R1, regCtx),
		asm.Mov.Reg(asm.R2, regLen),
		asm.Mov.Imm(asm.R3, roomMAC),
		asm.Mov.Reg(asm.R4, regOuter),
		asm.FnSkbAdjustRoom.Call(),
		asm.JNE.Imm(asm.R0, 0, "drop"),
		asm.Mov.Reg(asm.R1, regCtx),
	)
	is = append(is, headers()...)
	return append(is,
		asm.Mov.Reg(asm.R4, regLen),
		asm.Mov.Imm(asm.R5, 0),
		asm.FnSkbStoreBytes.Call(),
		asm.JNE.Imm(asm.R0, 0, "drop"),
		asm.Mov.Imm(asm.R0, actionNext).WithSymbol("next"),
		asm.Return(),
		asm.Mov.Imm(asm.R0, actionDrop).WithSymbol("drop"),
		asm.Return(),
	)
}

// headers says where the outer headers are in the frame, and on the stack.
func headers() asm.Instructions {
	return asm.Instructions{
		asm.Mov.Imm(asm.R2, wire.EthernetLen),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, stackOuter),
	}
}
