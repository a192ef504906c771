package steer

import (
	"encoding/binary"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/net/bpf"

	"usvs/wire"
)

// Where struct __sk_buff has the kind of packet, one of which is what this machine
// sends, and the EtherType.
const (
	ctxPacketType = 4
	ctxProtocol   = 16

	packetOutgoing = 4
)

// What the program keeps on its stack: two addresses, as the table has them, a
// byte of the packet, and a key of the shares.
const (
	stackSrc   = -32
	stackDst   = -16
	stackByte  = -40
	stackShare = -44
)

// golden spreads numbers that follow one another as evenly as can be (Knuth's
// multiplicative hashing, of which the upper bits are taken).
const golden = 0x9e3779b1

const regCtx = asm.R6

// program returns the number of the queue.
func program(owned, shares, seen *ebpf.Map) (*ebpf.Program, error) {
	return ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "usvs_steer", Type: ebpf.SocketFilter, Instructions: instructions(owned, shares, seen), License: "Apache-2.0",
	})
}

func instructions(owned, shares, seen *ebpf.Map) asm.Instructions {
	is := asm.Instructions{asm.Mov.Reg(regCtx, asm.R1)}
	is = append(is, asm.StoreImm(asm.RFP, stackShare, 0, asm.Word))
	is = append(is, count(seen)...)
	is = append(is, asm.StoreImm(asm.RFP, stackShare, activeAt, asm.Word).WithSymbol("counted"))
	is = append(is, lookUpShare(shares)...)
	is = append(is,
		asm.JLE.Imm(asm.R0, 1, "first"), // a single queue has all: nothing to look at
		asm.LoadMem(asm.R1, regCtx, ctxProtocol, asm.Word),
		asm.JEq.Imm(asm.R1, be(wire.TypeIPv4), "ipv4"),
		asm.JEq.Imm(asm.R1, be(wire.TypeIPv6), "ipv6"),
		asm.Ja.Label("first"),
	)
	is = append(is, readIPv4()...)
	is = append(is, readIPv6()...)
	return append(is, choose(owned, shares)...)
}

// count counts a frame of this CPU's. What the machine sends on the interface, which
// kernels without PACKET_FANOUT_FLAG_IGNORE_OUTGOING show as well, was not received.
func count(seen *ebpf.Map) asm.Instructions {
	is := asm.Instructions{
		asm.LoadMem(asm.R1, regCtx, ctxPacketType, asm.Word),
		asm.JEq.Imm(asm.R1, packetOutgoing, "counted"),
	}
	return append(append(is, lookUp(seen)...),
		asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord),
		asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(asm.R0, 0, asm.R1, asm.DWord),
	)
}

// lookUpShare reads the share whose key is on the stack.
func lookUpShare(shares *ebpf.Map) asm.Instructions {
	return append(lookUp(shares), asm.LoadMem(asm.R0, asm.R0, 0, asm.Word))
}

// lookUp finds the value whose key is on the stack.
func lookUp(m *ebpf.Map) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, stackShare),
		asm.LoadMapPtr(asm.R1, m.FD()),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "first"), // there is none: the verifier wants to hear it
	}
}

// be is a 16-bit field of a frame as a load of the machine's byte order sees it.
func be(v uint16) int32 {
	return int32(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v)))
}

// load copies n bytes of the packet to the stack, or gives up. A fanout's program
// runs where the network header begins; bpf_skb_load_bytes_relative would say so,
// but sees nothing of a long frame whose packet is in pages of its own.
func load(from, n int32, to int16) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(asm.R1, regCtx),
		asm.Mov.Imm(asm.R2, from),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, int32(to)),
		asm.Mov.Imm(asm.R4, n),
		asm.FnSkbLoadBytes.Call(),
		asm.JNE.Imm(asm.R0, 0, "first"),
	}
}

// mapped is the word in front of an IPv4 address in its 16-byte form.
var mapped = int64(binary.NativeEndian.Uint32([]byte{0, 0, 0xff, 0xff}))

func readIPv4() asm.Instructions {
	is := asm.Instructions{
		asm.Mov.Imm(asm.R1, 0).WithSymbol("ipv4"),
		asm.StoreMem(asm.RFP, stackSrc, asm.R1, asm.DWord),
		asm.StoreImm(asm.RFP, stackSrc+8, mapped, asm.Word),
		asm.StoreMem(asm.RFP, stackDst, asm.R1, asm.DWord),
		asm.StoreImm(asm.RFP, stackDst+8, mapped, asm.Word),
	}
	is = append(is, load(12, 4, stackSrc+12)...)
	is = append(is, load(16, 4, stackDst+12)...)
	return append(is, asm.Ja.Label("choose"))
}

// readIPv6 leaves neighbour discovery (RFC 4861) to the first queue.
func readIPv6() asm.Instructions {
	is := load(6, 1, stackByte)
	is[0] = is[0].WithSymbol("ipv6")
	is = append(is,
		asm.LoadMem(asm.R1, asm.RFP, stackByte, asm.Byte),
		asm.JNE.Imm(asm.R1, int32(wire.ProtoICMPv6), "addresses"),
	)
	is = append(is, load(wire.IPv6Len, 1, stackByte)...)
	is = append(is,
		asm.LoadMem(asm.R1, asm.RFP, stackByte, asm.Byte),
		asm.JLT.Imm(asm.R1, wire.ICMPv6NeighSol-2, "addresses"), // router solicitation is the first of five
		asm.JLE.Imm(asm.R1, wire.ICMPv6NeighAdv+1, "first"),     // and redirect the last
	)
	addresses := load(8, 32, stackSrc)
	addresses[0] = addresses[0].WithSymbol("addresses")
	return append(is, addresses...)
}

// choose hashes the client's address and looks up whose it is.
func choose(owned, shares *ebpf.Map) asm.Instructions {
	is := asm.Instructions{
		asm.Mov.Reg(asm.R2, asm.RFP).WithSymbol("choose"),
		asm.Add.Imm(asm.R2, stackDst),
		asm.LoadMapPtr(asm.R1, owned.FD()),
		asm.FnMapLookupElem.Call(),
		asm.LoadMem(asm.R1, asm.RFP, stackSrc, asm.DWord),
		asm.LoadMem(asm.R2, asm.RFP, stackSrc+8, asm.DWord),
		asm.JNE.Imm(asm.R0, 0, "hash"),
		asm.LoadMem(asm.R1, asm.RFP, stackDst, asm.DWord),
		asm.LoadMem(asm.R2, asm.RFP, stackDst+8, asm.DWord),
		asm.Xor.Reg(asm.R1, asm.R2).WithSymbol("hash"),
		asm.HostTo(asm.BE, asm.R1, asm.DWord), // the address's last byte is the lowest of the number
		asm.Mov.Reg(asm.R0, asm.R1),
		asm.RSh.Imm(asm.R0, 32),
		asm.Xor.Reg(asm.R0, asm.R1),
		asm.LoadImm(asm.R1, golden, asm.DWord),
		asm.Mul.Reg(asm.R0, asm.R1),
		asm.LSh.Imm(asm.R0, 32), // of the product's lower half
		asm.RSh.Imm(asm.R0, 64-bucketBits),
		asm.StoreMem(asm.RFP, stackShare, asm.R0, asm.Word),
	}
	is = append(is, lookUpShare(shares)...)
	return append(is,
		asm.Return(),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("first"),
		asm.Return(),
	)
}

// Classic is a classic BPF program for PACKET_FANOUT_CBPF: the last bytes of the
// source address, mixed. A client's frames keep their order by it.
func Classic() []bpf.RawInstruction {
	raw, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtProto},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(wire.TypeIPv4), SkipFalse: 2},
		bpf.LoadAbsolute{Off: 12, Size: 4},
		bpf.Jump{Skip: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(wire.TypeIPv6), SkipFalse: 4},
		bpf.LoadAbsolute{Off: 20, Size: 4},
		bpf.ALUOpConstant{Op: bpf.ALUOpMul, Val: golden},
		bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 16},
		bpf.RetA{},
		bpf.RetConstant{Val: 0},
	})
	if err != nil {
		panic(err) // it is the same every time
	}
	return raw
}
