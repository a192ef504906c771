package connsync

import (
	"encoding/binary"
	"net/netip"

	"usvs/conntrack"
	"usvs/ipvs"
)

// Problem is why a message, or an entry of it, was not accepted.
type Problem uint8

const (
	None          Problem = iota
	Short                 // a message without a header
	WrongSize             // a message of another size than it says
	OtherSyncID           // for another group of directors
	Truncated             // an entry that goes on after the message's end
	BadType               // an entry of an unknown address family
	BadVersion            // an entry of an unknown version
	BadSize               // an entry whose size cannot be
	BadOption             // an option that cannot be
	UnknownOption         // an option that must be understood and is not
	BadMethod             // an unknown forwarding method
	BadProtocol           // a connection of an unknown protocol
	BadState              // a state the protocol does not have
	NoEngine              // a template of an unknown persistence engine
	TableFull             // the connection table holds its maximum
	Problems              // how many there are
)

var problemNames = [Problems]string{
	"none", "short", "wrong_size", "other_sync_id", "truncated", "bad_type", "bad_version", "bad_size",
	"bad_option", "unknown_option", "bad_method", "bad_protocol", "bad_state", "no_engine", "table_full",
}

// String is the problem's counter name.
func (p Problem) String() string { return problemNames[p] }

// Decode calls yield with every entry of a message for the group of directors
// syncID; 0 is in all groups. The entry, and what it refers to, is valid only
// until yield returns. refuse is told of every problem. What follows an entry
// whose size cannot be trusted is left out, as the kernel does (ipvs.md 6.2, 6.3).
func Decode(b []byte, syncID uint8, yield func(*Entry), refuse func(Problem)) {
	switch {
	case len(b) < headerLen0:
		refuse(Short)
	case int(binary.BigEndian.Uint16(b[2:])) != len(b):
		refuse(WrongSize)
	case syncID != 0 && b[1] != syncID:
		refuse(OtherSyncID)
	case len(b) >= headerLen1 && b[5] == 1 && b[0] == 0 && b[6] == 0 && b[7] == 0:
		decode1(b, int(b[4]), yield, refuse)
	default:
		decode0(b[headerLen0:], int(b[0]), yield, refuse)
	}
}

func decode0(b []byte, count int, yield func(*Entry), refuse func(Problem)) {
	for range count {
		if len(b) < entryLen0 {
			refuse(Truncated)
			return
		}
		e := Entry{Protocol: ipvs.Protocol(b[1])}
		e.setFlags(uint32(binary.BigEndian.Uint16(b[20:])))
		e.State = binary.BigEndian.Uint16(b[22:])
		e.setEnds(b[2:], b[8:20])
		b = b[entryLen0:]
		if e.Flags&seqFlags != 0 {
			if len(b) < seqLen {
				refuse(Truncated)
				return
			}
			e.setSeq(b, binary.LittleEndian)
			b = b[seqLen:]
		}
		yield(&e)
	}
}

func decode1(b []byte, count int, yield func(*Entry), refuse func(Problem)) {
	at := headerLen1
	for range count {
		at = (at + 3) &^ 3
		if at+entryLen4 > len(b) {
			refuse(Truncated)
			return
		}
		size := int(binary.BigEndian.Uint16(b[at+2:]) & 0xfff)
		if at+size > len(b) {
			refuse(Truncated)
			return
		}
		e := Entry{version: 1}
		p, fatal := e.decode(b[at : at+size])
		switch {
		case fatal:
			refuse(p)
			return
		case p != None:
			refuse(p)
		default:
			yield(&e)
		}
		at += size
	}
}

// decode reads a version 1 entry, which is all of b. fatal says that the rest
// of its message is not to be trusted either.
func (e *Entry) decode(b []byte) (p Problem, fatal bool) {
	if len(b) < entryLen4 {
		return BadSize, true
	}
	fixed, addrs := entryLen4, 12
	switch {
	case b[0]&typeV6 != 0:
		fixed, addrs = entryLen6, 48
	case b[0] != 0:
		return BadType, true
	}
	if b[2]>>4 != 0 {
		return BadVersion, true
	}
	if len(b) < fixed {
		return BadSize, true
	}
	e.Protocol = ipvs.Protocol(b[1])
	e.setFlags(binary.BigEndian.Uint32(b[4:]))
	e.State = binary.BigEndian.Uint16(b[8:])
	e.Mark = binary.BigEndian.Uint32(b[16:])
	e.Timeout = binary.BigEndian.Uint32(b[20:])
	e.setEnds(b[10:], b[24:24+addrs])
	return e.decodeOptions(b[fixed:])
}

// decodeOptions reads what follows the fixed part of a version 1 entry.
func (e *Entry) decodeOptions(b []byte) (p Problem, fatal bool) {
	name := false
	for len(b) > 0 {
		if len(b) < optionLen {
			return BadOption, true
		}
		kind, n := b[0], int(b[1])
		b = b[optionLen:]
		if n == 0 || n > len(b) {
			return BadOption, true
		}
		value := b[:n]
		b = b[n:]
		switch kind &^ optIgnore {
		case optSeq:
			if n != seqLen || e.Seq {
				return BadOption, true
			}
			e.setSeq(value, binary.BigEndian)
		case optPEData:
			if e.PEData != nil {
				return BadOption, true
			}
			e.PEData = value
		case optPEName:
			if n > maxPEName || name {
				return BadOption, true
			}
			e.PEName, name = string(value), true
		default:
			if kind&optIgnore == 0 {
				p = UnknownOption
			}
		}
	}
	return p, false
}

// setFlags separates the flags from the forwarding method among them.
func (e *Entry) setFlags(f uint32) {
	e.Method = ipvs.ForwardMethod(f & methodMask)
	e.Flags = conntrack.Flags(f &^ methodMask)
}

// setEnds reads three ports and three addresses.
func (e *Entry) setEnds(ports, addrs []byte) {
	size := len(addrs) / 3
	for i, to := range [3]*netip.AddrPort{&e.Client, &e.Virtual, &e.Real} {
		a, _ := netip.AddrFromSlice(addrs[i*size : (i+1)*size])
		*to = netip.AddrPortFrom(a, binary.BigEndian.Uint16(ports[2*i:]))
	}
}

func (e *Entry) setSeq(b []byte, order binary.ByteOrder) {
	e.Seq = true
	for i, q := range [2]*conntrack.Seq{&e.InSeq, &e.OutSeq} {
		v := b[12*i:]
		*q = conntrack.Seq{Init: order.Uint32(v), Delta: int32(order.Uint32(v[4:])), Previous: int32(order.Uint32(v[8:]))}
	}
}
