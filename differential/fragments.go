package differential

import (
	"encoding/binary"
	"fmt"
	"slices"

	"usvs/wire"
)

// fragments cuts a packet and sends the pieces, not always all, nor in order,
// nor right.
func (l *lab) fragments(f flow) {
	size := pick(l.draft, 8, 200, 600, 1000, 1400, 2000, 2800)
	line, link := macro(f, opening(f.protocol), fmt.Sprintf("len=%d", size)), "c"
	if l.oneIn(4) && f.service.method == "-m" && len(f.service.servers) > 0 && f.protocol != "sctp" {
		line, link = backMacro(f, pick(l.draft, f.service.servers...), l.usual(f.protocol), fmt.Sprintf("len=%d", size)), "s"
	}
	whole := build(line)
	if l.oneIn(12) {
		setTTL(whole, uint8(l.between(1, 3)))
	}
	parts := cutAt(whole, l.cuts(len(whole)-headerLen(whole)), l.Uint32())
	if l.oneIn(4) {
		parts = l.mishap(parts, link)
	}
	if l.oneIn(4) {
		l.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	}
	if l.oneIn(6) {
		parts = slices.Delete(parts, 0, 1)
	} else if l.oneIn(6) {
		parts = parts[:len(parts)-1]
	}
	for _, p := range parts {
		l.raw(link, p.frame())
	}
}

// mostParts is in how many pieces a packet is cut at most.
const mostParts = 12

// cuts are where data of n bytes is cut: at multiples of 8.
func (l *lab) cuts(n int) (at []int) {
	if l.oneIn(3) {
		for range l.between(1, 4) {
			if most := min(n-1, 1440) / 8; most > 0 {
				at = append(at, 8*l.between(1, most))
			}
		}
		slices.Sort(at)
		at = slices.Compact(at)
	} else {
		size := pick(l.draft, 8*pick(l.draft, 1, 2, 3), 400, 800, 1208, 1440)
		if n > mostParts*size {
			size = 1208
		}
		for i := size; i < n; i += size {
			at = append(at, i)
		}
	}
	for len(at) > 0 && n-at[len(at)-1] > 1440 { // what is left must fit a link
		at = append(at, at[len(at)-1]+1440)
	}
	return at
}

// mishap does something to a packet's fragments.
func (l *lab) mishap(parts []part, link string) []part {
	i := l.IntN(len(parts))
	switch p := parts[i]; l.IntN(6) {
	case 0: // one comes twice
		return slices.Insert(parts, l.IntN(len(parts)+1), p)
	case 1: // one overlaps another
		p.at = max(0, p.at+pick(l.draft, -8, 8))
		return slices.Insert(parts, l.IntN(len(parts)+1), p)
	case 2: // two that touch come again as one
		if i > 0 {
			q := parts[i-1]
			q.data, q.more = slices.Concat(q.data, p.data), p.more
			if len(q.data) <= 1440 {
				return slices.Insert(parts, l.between(i, len(parts)), q)
			}
		}
	case 3: // one is no multiple of 8 bytes long, or empty
		p.data = p.data[:len(p.data)-min(len(p.data), pick(l.draft, 1, 4, 7, 8, 2000))]
		return slices.Insert(parts, l.IntN(len(parts)+1), p)
	case 4: // congestion was experienced, or some are not ECN-capable
		for i := range parts {
			parts[i].ecn = uint8(l.IntN(4))
		}
	case 5: // the sender forbade to cut them
		for i := range parts {
			parts[i].df = link == "c" && l.oneIn(2)
		}
	}
	return parts
}

// part is a fragment of a packet.
type part struct {
	head []byte // the packet's, up to the transport header
	data []byte
	at   int
	more bool
	id   uint32
	ecn  uint8
	df   bool
}

// cutAt makes fragments of a frame, cut at some offsets of its payload.
func cutAt(frame []byte, at []int, id uint32) (parts []part) {
	head, body := frame[:headerLen(frame)], frame[headerLen(frame):]
	from := 0
	for _, end := range append(slices.Clone(at), len(body)) {
		parts = append(parts, part{head: head, data: body[from:end], at: from, more: end < len(body), id: id})
		from = end
	}
	return parts
}

func (p part) frame() []byte {
	if p.head[wire.EthernetLen]>>4 == 6 {
		return p.frame6()
	}
	f := slices.Concat(p.head, p.data)
	h := wire.IPv4(f[wire.EthernetLen:])
	word := uint16(p.at / 8)
	if p.more {
		word |= 0x2000 // more fragments
	}
	if p.df {
		word |= 0x4000
	}
	h.SetTOS(h.TOS() | p.ecn)
	h.SetFragWord(word)
	h.SetID(uint16(p.id))
	h.SetTotalLen(len(f) - wire.EthernetLen)
	h.UpdateChecksum()
	return f
}

func (p part) frame6() []byte {
	const fragmentHeader = 44
	ext := make([]byte, 8)
	ext[0] = wire.IPv6(p.head[wire.EthernetLen:]).NextHeader()
	binary.BigEndian.PutUint16(ext[2:], uint16(p.at))
	if p.more {
		ext[3] |= 1
	}
	binary.BigEndian.PutUint32(ext[4:], p.id)
	f := slices.Concat(p.head, ext, p.data)
	h := wire.IPv6(f[wire.EthernetLen:])
	h.SetFlow(h.TrafficClass()|p.ecn, h.FlowLabel())
	h.SetNextHeader(fragmentHeader)
	h.SetPayloadLen(len(ext) + len(p.data))
	return f
}

func setTTL(frame []byte, ttl uint8) {
	if frame[wire.EthernetLen]>>4 == 6 {
		wire.IPv6(frame[wire.EthernetLen:]).SetHopLimit(ttl)
		return
	}
	h := wire.IPv4(frame[wire.EthernetLen:])
	h.SetTTL(ttl)
	h.UpdateChecksum()
}
