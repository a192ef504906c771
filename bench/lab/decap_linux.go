package lab

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"usvs/link/netlab"
	"usvs/wire"
)

// From linux/bpf.h.
const (
	skbData          = 76 // offsets in struct __sk_buff
	skbDataEnd       = 80
	adjustRoomMAC    = 1      // BPF_ADJ_ROOM_MAC
	adjustFixedGSO   = 1 << 0 // BPF_F_ADJ_ROOM_FIXED_GSO
	adjustDecapIPv4  = 1 << 7 // BPF_F_ADJ_ROOM_DECAP_L3_IPV4
	tcxNext          = -1     // TCX_NEXT: as if nobody had looked
	ipv4InIPv4Header = wire.EthernetLen + wire.IPv4Len
)

// unpack makes the kernel take the outer header off what is tunnelled to a
// machine, IPv4 in IPv4, for kernels that are built without such tunnels (Linux
// 6.6). The returned function undoes it.
func unpack(ns *netlab.Namespace, ifname string) (undo func(), err error) {
	nl, err := ns.Netlink().LinkByName(ifname)
	if err != nil {
		return nil, err
	}
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "unpack", Type: ebpf.SchedCLS, Instructions: unpackInstructions(), License: "Dual MIT/GPL",
	})
	if err != nil {
		return nil, fmt.Errorf("load the program that unpacks: %w", err)
	}
	defer prog.Close() // the attachment keeps it
	var at link.Link
	err = ns.Do(func() error {
		at, err = link.AttachTCX(link.TCXOptions{Interface: nl.Attrs().Index, Program: prog, Attach: ebpf.AttachTCXIngress})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("attach the program that unpacks: %w", err)
	}
	return func() { at.Close() }, nil
}

// unpackInstructions: IPv4 without options in front of IPv4 goes.
func unpackInstructions() asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R2, asm.R6, skbData, asm.Word),
		asm.LoadMem(asm.R3, asm.R6, skbDataEnd, asm.Word),
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.Add.Imm(asm.R4, ipv4InIPv4Header),
		asm.JGT.Reg(asm.R4, asm.R3, "next"),
		asm.LoadMem(asm.R4, asm.R2, 12, asm.Half),
		asm.HostTo(asm.BE, asm.R4, asm.Half),
		asm.JNE.Imm(asm.R4, wire.TypeIPv4, "next"),
		asm.LoadMem(asm.R4, asm.R2, wire.EthernetLen, asm.Byte),
		asm.JNE.Imm(asm.R4, 0x45, "next"),
		asm.LoadMem(asm.R4, asm.R2, wire.EthernetLen+9, asm.Byte),
		asm.JNE.Imm(asm.R4, wire.ProtoIPIP, "next"),
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.Mov.Imm(asm.R2, -wire.IPv4Len),
		asm.Mov.Imm(asm.R3, adjustRoomMAC),
		asm.Mov.Imm(asm.R4, adjustFixedGSO|adjustDecapIPv4),
		asm.FnSkbAdjustRoom.Call(),
		asm.Mov.Imm(asm.R0, tcxNext).WithSymbol("next"),
		asm.Return(),
	}
}
