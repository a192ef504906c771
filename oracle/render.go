package oracle

import (
	"bytes"
	"fmt"
	"strings"

	"usvs/dissect"
	"usvs/wire"
)

// describe says what a frame is, in a line.
func describe(e Emission) string {
	to := "a short frame"
	if len(e.Data) >= wire.EthernetLen {
		to = "to " + wire.EthernetHeader(e.Data).Dst().String()
	}
	data, wrong := readable(e.Data)
	line := dissect.Line(data, wire.Ethernet)
	if wrong {
		line += ", wrong IPv4 header checksum"
	}
	return fmt.Sprintf("on link %s %s: %s (%d bytes)", e.Link, to, line, len(e.Data))
}

// readable returns the frame with an IPv4 header checksum that is right, or
// nobody would look into it, and whether it was wrong.
func readable(data []byte) (frame []byte, wrong bool) {
	if len(data) < wire.EthernetLen+wire.IPv4Len || data[wire.EthernetLen]>>4 != 4 {
		return data, false
	}
	h := wire.IPv4(data[wire.EthernetLen:])
	if h.HeaderLen() < wire.IPv4Len || h.HeaderLen() > len(h) || h.HeaderChecksumOK() {
		return data, false
	}
	frame = bytes.Clone(data)
	wire.IPv4(frame[wire.EthernetLen:]).UpdateChecksum()
	return frame, true
}

// fields are a frame's fields, a wrong IPv4 header checksum as it is.
func fields(data []byte) []dissect.Field {
	frame, wrong := readable(data)
	list := dissect.Fields(frame, wire.Ethernet)
	if !wrong {
		return list
	}
	for i := range list {
		if list[i].Name == "checksum" && strings.HasSuffix(list[i].Layer, "IPv4") {
			list[i].Value = fmt.Sprintf("%#04x (wrong)", wire.IPv4(data[wire.EthernetLen:]).Checksum())
			break
		}
	}
	return list
}

// row is a field of two frames.
type row struct{ name, recorded, here string }

// sideBySide shows two frames field by field. A line that starts with ! is a
// difference, one with ~ a difference that does not count.
func (m mask) sideBySide(recorded, here Emission) string {
	var b strings.Builder
	fmt.Fprintf(&b, "  recorded %s\n  here     %s\n", describe(recorded), describe(here))
	raw := rows(recorded.Data, here.Data)
	masked := map[string]row{}
	for _, r := range rows(m.frame(recorded.Data, here.made), m.frame(here.Data, here.made)) {
		masked[r.name] = r
	}
	width := 0
	for _, r := range raw {
		width = max(width, len(r.name))
	}
	fmt.Fprintf(&b, "    %-*s  %-20s %s\n", width, "field", "recorded", "here")
	for _, r := range raw {
		mark := " "
		switch same := masked[r.name]; {
		case r.recorded == r.here:
		case same.recorded == same.here && !strings.HasSuffix(r.name, "checksum"):
			mark = "~"
		default:
			mark = "!"
		}
		fmt.Fprintf(&b, "  %s %-*s  %-20s %s\n", mark, width, r.name, r.recorded, r.here)
	}
	b.WriteString(firstByte(m.frame(recorded.Data, here.made), m.frame(here.Data, here.made)))
	return b.String()
}

// rows pairs the fields of two frames: in the order of the first, then what
// only the second has.
func rows(recorded, here []byte) []row {
	var out []row
	at := map[string]int{}
	seen := map[string]int{}
	name := func(f dissect.Field) string {
		n := f.Layer + " " + f.Name
		if seen[n]++; seen[n] > 1 {
			return fmt.Sprintf("%s #%d", n, seen[n])
		}
		return n
	}
	for _, f := range fields(recorded) {
		n := name(f)
		at[n] = len(out)
		out = append(out, row{n, f.Value, "-"})
	}
	clear(seen)
	for _, f := range fields(here) {
		n := name(f)
		if i, ok := at[n]; ok {
			out[i].here = f.Value
			continue
		}
		out = append(out, row{n, "-", f.Value})
	}
	return out
}

// firstByte says where two frames part, masked fields aside.
func firstByte(a, b []byte) string {
	const context = 8
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	if i == len(a) && i == len(b) {
		return ""
	}
	from := max(i-context, 0)
	cut := func(s []byte) []byte { return s[min(from, len(s)):min(i+context, len(s))] }
	return fmt.Sprintf("  first difference at byte %d (from byte %d: recorded % x, here % x)\n", i, from, cut(a), cut(b))
}

// diffLines shows what two texts do not have in common, with the lines around
// it: - recorded, + here.
func diffLines(recorded, here []string) string {
	const around = 2
	edits := edit(recorded, here)
	near := make([]bool, len(edits))
	for i, e := range edits {
		if e.mark == ' ' {
			continue
		}
		for j := max(i-around, 0); j <= min(i+around, len(edits)-1); j++ {
			near[j] = true
		}
	}
	var b strings.Builder
	gap := false
	for i, e := range edits {
		if !near[i] {
			gap = true
			continue
		}
		if gap {
			b.WriteString("    ...\n")
		}
		gap = false
		fmt.Fprintf(&b, "  %c %s\n", e.mark, e.text)
	}
	return b.String()
}

type edited struct {
	mark byte // ' ' in both, '-' recorded only, '+' here only
	text string
}

// maxEdit bounds the texts that are compared line by line.
const maxEdit = 2000

// edit turns a into b by the longest common subsequence of their lines.
func edit(a, b []string) []edited {
	a, b = a[:min(len(a), maxEdit)], b[:min(len(b), maxEdit)]
	longest := make([][]int, len(a)+1)
	for i := range longest {
		longest[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				longest[i][j] = longest[i+1][j+1] + 1
				continue
			}
			longest[i][j] = max(longest[i+1][j], longest[i][j+1])
		}
	}
	var out []edited
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			out = append(out, edited{' ', a[i]})
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && longest[i+1][j] >= longest[i][j+1]:
			out = append(out, edited{'-', a[i]})
			i++
		default:
			out = append(out, edited{'+', b[j]})
			j++
		}
	}
	return out
}
